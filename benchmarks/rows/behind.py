"""Row 11: a client comes back 10,000 events later: how soon it is answered, and what it took of memory meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator

import attrs

from benchmarks.bench import Bench, Identity, sessions
from benchmarks.figures import Measurement, Usage, milliseconds
from benchmarks.homeserver.world import Group
from benchmarks.load.jobs import Done, Return
from benchmarks.processes import rss_mib
from benchmarks.rows.common import first_requests, ratio, warm
from benchmarks.server import Server

_USERS = 20
_ROOMS = 50
_EVENTS = 10_000
#: events a second
_PACE = 400.0
#: clients that come back a second, or come for the first time
_RATE = 5.0
_REST_S = 3.0
#: as fast, as far as twenty requests tell
_MOST = 1.2
_MOST_MIB = 4.0


@attrs.frozen
class Seen:
    """What the clients saw, and how the server's memory grew while they were away, in MiB.

    `before_mib` is how it grew with as many events while no client was behind.
    """

    firsts: Done
    returns: Done
    #: the same answers as those to who came back, by the floor
    least: Done
    before_mib: float | None
    grown_mib: float | None
    events: int
    usage: Usage


def measure(bench: Bench) -> Iterator[Measurement]:
    """One measurement: all users are in the same rooms, and behind by all events."""
    group = Group("behind", _USERS, _ROOMS, circle=_USERS)
    users = bench.homeserver.add(group)
    with bench.server() as server:
        warm(bench, server, users)
        # the caches fill
        _emit(bench, server, group)
        yield measurement(_see(bench, server, group, users))


def _see(bench: Bench, server: Server, group: Group, users: list[Identity]) -> Seen:
    firsts = bench.do(first_requests(bench, server, users, rate=_RATE, count=len(users)))
    _, before_mib = _emit(bench, server, group)
    seen: list[tuple[int, float | None]] = []
    job = Return(
        host=server.host,
        port=server.port,
        path=bench.dialect.path,
        sessions=sessions(users),
        body=bench.dialect.body,
        later_body=bench.dialect.later_body,
        seconds=_EVENTS / _PACE + 2 * _REST_S,
        rate=_RATE,
    )
    returns, usage = server.measured(lambda: bench.do(job, holding=lambda: seen.append(_emit(bench, server, group))))
    ((events, grown_mib),) = seen
    with bench.floor(returns.sample) as floor:
        least = bench.do(first_requests(bench, floor, users, rate=_RATE, count=len(users)))
    return Seen(firsts, returns, least, before_mib, grown_mib, events, usage)


def _emit(bench: Bench, server: Server, group: Group) -> tuple[int, float | None]:
    """Events, and how the server's memory grew."""
    before_mib = None if server.pid is None else rss_mib(server.pid)
    emitted = bench.homeserver.emit(group.name, _PACE, _EVENTS / _PACE, even=True)
    time.sleep(_REST_S)
    return len(emitted), None if server.pid is None or before_mib is None else rss_mib(server.pid) - before_mib


def measurement(seen: Seen) -> Measurement:
    """The answers compared."""
    problems = {**seen.firsts.problems, **seen.returns.problems}
    one = Measurement(row=11, what=f"{seen.events} events behind", usage=seen.usage, problems=problems)
    firsts, returns = milliseconds(seen.firsts.latencies_ns), milliseconds(seen.returns.latencies_ns)
    one.put("next request", returns)
    one.put("first request", firsts)
    least = milliseconds(seen.least.latencies_ns)
    if returns is not None and least is not None:
        one.floor = {"p50 ms": least.p50, "p99 ms": least.p99}
        one.values["ratio to the floor, p50"] = ratio(returns.p50, least.p50)
    for name, done in (("first answer, KB", seen.firsts), ("next answer, KB", seen.returns)):
        one.values[name] = round(len(done.sample) / 1000, 1)
    if firsts is not None and returns is not None:
        one.expect("p50, as a multiple of that of a first request", ratio(returns.p50, firsts.p50), _MOST)
    if seen.grown_mib is not None and seen.before_mib is not None:
        one.values["memory grown meanwhile, MiB"] = round(seen.grown_mib, 1)
        one.values["memory grown with nobody behind, MiB"] = round(seen.before_mib, 1)
        one.expect("memory grown for being behind, MiB", seen.grown_mib - seen.before_mib, _MOST_MIB)
    return one
