"""`python -m benchmarks.load`: a job a line on stdin, its result a line on stdout, until stdin ends."""

from __future__ import annotations

import asyncio
import gc
import sys

import msgspec

from benchmarks.load.client import run
from benchmarks.load.jobs import Done, FirstRequests, Hold, Holding, Polls, Return, Warm


def say(what: Done | Holding) -> None:
    """Write a line."""
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """Do the jobs, one after the other."""
    # a collection would be seen as latency of who is measured
    gc.disable()
    for line in sys.stdin.buffer:
        job = msgspec.json.decode(line, type=Warm | FirstRequests | Polls | Hold | Return)
        say(asyncio.run(run(job, lambda: say(Holding()))))
        gc.collect()


if __name__ == "__main__":
    main()
