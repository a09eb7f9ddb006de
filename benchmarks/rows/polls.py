"""Row 7: `/sync` answers with one new event each, then with one that is known, as many as the server takes."""

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
    """A flood, what it took of the server, and of the stand-in (in cores: near 1 it would be what is measured).

    `stored`: how many of the server's database connections ran a statement; `None`: it has no database.
    """

    flood: FloodResult
    usage: Usage
    standin_cores: float
    stored: int | None = None

    @property
    def cpu_us(self) -> float:
        """The server's CPU an answer, in microseconds."""
        return per_request_us(self.usage.cpu_s, self.flood.answers)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.flood.answers / self.flood.seconds


def measure(bench: Bench) -> Iterator[Measurement]:
    """A measurement for each half: every poll is answered at once, so that the server is never without work."""
    with bench.server() as server:
        new, known = _see(bench, server, Group("polls", _USERS, _ROOMS))
    with bench.relay() as floor:
        # users of its own: a device has one poller
        least, least_known = _see(bench, floor, Group("floorpolls", _USERS, _ROOMS))
    yield _measurement(f"polls, one new event each, {_USERS} pollers", new, least, 600)
    repeats = _measurement(f"polls, one known event each, {_USERS} pollers", known, least_known, 1400)
    if known.stored is not None:
        repeats.values["connections that ran a statement"] = known.stored
        repeats.expect("connections that ran a statement", known.stored, 0)
    yield repeats


def _see(bench: Bench, server: Server, group: Group) -> tuple[Seen, Seen]:
    users = bench.homeserver.add(group)
    warm(bench, server, users)
    return _seen(bench, server, group, repeats=False), _seen(bench, server, group, repeats=True)


def _seen(bench: Bench, server: Server, group: Group, *, repeats: bool) -> Seen:
    # until what was before is stored, and followed by long polls
    time.sleep(1)
    before_s, ran = cpu_s(bench.homeserver.child.pid), server.statements()
    seconds = bench.options.amount(8, 15)
    seen, usage = server.measured(lambda: flood(bench, group, seconds, repeats=repeats))
    stored = None if ran is None else len((server.statements() or ran) - ran)
    return Seen(seen, usage, (cpu_s(bench.homeserver.child.pid) - before_s) / seen.seconds, stored)


def flood(bench: Bench, group: Group, seconds: float, *, repeats: bool) -> FloodResult:
    """Every poll of the group is answered at once, for so long."""
    bench.homeserver.start_flood(group.name, repeats=repeats)
    time.sleep(seconds)
    return bench.homeserver.calm()


def _measurement(what: str, seen: Seen, least: Seen, target: float) -> Measurement:
    one = Measurement(row=7, what=what, usage=seen.usage)
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
    one.expect("answers/s", seen.rate, target, at_least=True)
    return one
