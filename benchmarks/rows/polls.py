"""Row 7, first half: `/sync` answers with one distinct new event each, as many as the server takes."""

from __future__ import annotations

import time
from collections.abc import Iterator

import attrs

from benchmarks.bench import Bench
from benchmarks.figures import Measurement, Usage, milliseconds
from benchmarks.homeserver.emission import FloodResult
from benchmarks.homeserver.world import Group
from benchmarks.processes import cpu_s
from benchmarks.rows.common import per_request_us, ratio, warm
from benchmarks.server import Server

_USERS = 200
_ROOMS = 20


@attrs.frozen
class Seen:
    """A flood, what it took of the server, and of the stand-in (in cores: near 1 it would be what is measured)."""

    flood: FloodResult
    usage: Usage
    standin_cores: float

    @property
    def cpu_us(self) -> float:
        """The server's CPU an answer, in microseconds."""
        return per_request_us(self.usage.cpu_s, self.flood.answers)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.flood.answers / self.flood.seconds


def measure(bench: Bench) -> Iterator[Measurement]:
    """One measurement: every poll is answered at once, so that the server is never without work."""
    with bench.server() as server:
        seen = _see(bench, server, Group("polls", _USERS, _ROOMS))
    with bench.relay() as floor:
        # users of its own: a device has one poller
        least = _see(bench, floor, Group("floorpolls", _USERS, _ROOMS))
    yield _measurement(seen, least)


def _see(bench: Bench, server: Server, group: Group) -> Seen:
    users = bench.homeserver.add(group)
    warm(bench, server, users)
    # until the last first polls were followed by long ones
    time.sleep(1)
    before_s = cpu_s(bench.homeserver.child.pid)
    flood, usage = server.measured(lambda: _flood(bench, group))
    return Seen(flood, usage, (cpu_s(bench.homeserver.child.pid) - before_s) / flood.seconds)


def _flood(bench: Bench, group: Group) -> FloodResult:
    bench.homeserver.start_flood(group.name)
    time.sleep(bench.options.amount(8, 60))
    return bench.homeserver.calm()


def _measurement(seen: Seen, least: Seen) -> Measurement:
    one = Measurement(row=7, what=f"polls, one new event each, {_USERS} pollers", usage=seen.usage)
    one.put("from an answer to the next request", milliseconds(seen.flood.cycles_ns))
    one.values |= {
        "answers/s": round(seen.rate, 1),
        "CPU an answer, us": seen.cpu_us,
        "database CPU an answer, us": per_request_us(seen.usage.database_cpu_s, seen.flood.answers),
        "CPU of the stand-in, cores": round(seen.standin_cores, 2),
        "ratio to the floor, CPU": ratio(seen.cpu_us, least.cpu_us),
    }
    if seen.usage.wal_bytes is not None and seen.flood.answers:
        one.values["WAL an answer, bytes"] = round(seen.usage.wal_bytes / seen.flood.answers, 1)
    one.floor = {"answers/s": round(least.rate, 1), "CPU an answer, us": least.cpu_us}
    one.expect("answers/s", seen.rate, 600, at_least=True)
    return one
