"""When Python looks for cycles: a look at everything holds the reactor, for longer the more objects there are."""

from __future__ import annotations

import gc

#: objects that are new and alive before the youngest are looked at: many that a large answer makes, not 700
_YOUNG = 10_000
#: how many more looks at the youngest than this come before one at the middle-aged: with ten, such a look took 100 ms
#: while thousands of connections were begun; and how many of those before one at everything
_MIDDLE = 1
_EVERYTHING = 500


def settle() -> None:
    """Take what the start made, most of it code, out of what is looked at, and look at the rest less often.

    What is dropped is freed at once, by its reference count, as ever: only cycles wait for a look.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _EVERYTHING)
