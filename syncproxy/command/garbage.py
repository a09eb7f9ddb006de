"""When Python looks for cycles: a look at everything holds the reactor, for longer the more objects there are."""

from __future__ import annotations

import gc

#: objects that are new and alive before the youngest are looked at: as many as a large answer makes, not 700
_YOUNG = 20_000
#: looks at the youngest before one at the middle-aged: it holds the reactor for 30 ms while thousands of connections
#: are being begun, and for 100 ms with ten; and those before one at everything
_MIDDLE = 3
_EVERYTHING = 160


def settle() -> None:
    """Take what the start made, most of it code, out of what is looked at, and look at the rest less often.

    What is dropped is freed at once, by its reference count, as ever: only cycles wait for a look.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _EVERYTHING)
