"""`python -m benchmarks.turns FILE ARGUMENTS…`: twistd with these arguments; the reactor's long turns go to FILE.

A turn is what the reactor does between two waits for its sockets. Its CPU tells how long it holds the reactor where
nobody else wants the core: the stall metric, which goes by the clock, counts what the machine does besides, too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns, thread_time_ns
from typing import Any

import msgspec
from twisted.scripts import twistd

#: shorter turns are not worth a line
_LONG_NS = 20_000_000


class Turn(msgspec.Struct, frozen=True):
    """A turn that was long, by the clock and by the CPU that its thread took; `ended_ns` is of the monotonic clock."""

    ended_ns: int
    clock_ns: int
    cpu_ns: int


class TurnWatch:
    """What the reactor polls with: tells the turns between one `poll` and the next, if they are long."""

    def __init__(
        self,
        poller: Any,
        tell: Callable[[Turn], None],
        now_ns: Callable[[], int] = perf_counter_ns,
        cpu_ns: Callable[[], int] = thread_time_ns,
    ) -> None:
        self._poller = poller
        self._tell = tell
        self._now_ns = now_ns
        self._cpu_ns = cpu_ns
        self._began: tuple[int, int] | None = None

    def poll(self, *args: Any) -> Any:
        """Wait; what was since the last wait is over."""
        if self._began is not None:
            now_ns = self._now_ns()
            turn = Turn(now_ns, now_ns - self._began[0], self._cpu_ns() - self._began[1])
            if turn.clock_ns >= _LONG_NS:
                self._tell(turn)
        ready = self._poller.poll(*args)
        self._began = (self._now_ns(), self._cpu_ns())
        return ready

    def __getattr__(self, name: str) -> Any:
        return getattr(self._poller, name)


def note(path: Path, turn: Turn) -> None:
    """Append a turn to a file."""
    with path.open("ab") as told:
        told.write(msgspec.json.encode(turn) + b"\n")


def turns_in(path: Path, since_ns: int = 0) -> list[Turn]:
    """The turns that a file tells, from those that ended at `since_ns` on."""
    turns = [msgspec.json.decode(line, type=Turn) for line in path.read_bytes().splitlines()]
    return [turn for turn in turns if turn.ended_ns >= since_ns]


def main() -> None:
    """Run twistd, watched."""
    from twisted.internet import reactor

    path = Path(sys.argv[1])
    path.touch()
    # the reactor has no seam for this
    watched: Any = reactor
    watched._poller = TurnWatch(watched._poller, lambda turn: note(path, turn))
    sys.argv[:2] = ["twistd"]
    twistd.run()


if __name__ == "__main__":
    main()
