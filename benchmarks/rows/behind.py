"""Row 11: a client comes back 10,000 events later: how soon it is answered, and what it took of memory meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator

import attrs

from benchmarks.bench import Bench, Identity, sessions
from benchmarks.figures import Measurement, milliseconds
from benchmarks.homeserver.world import Group
from benchmarks.load.jobs import Done, FirstRequests, Return
from benchmarks.processes import rss_mib
from benchmarks.requests import MSC3575_PATH, room_list, room_list_later
from benchmarks.rows.common import ratio, warm
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
    before_mib: float | None
    grown_mib: float | None
    events: int


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
    firsts = _first(bench, server, users)
    _, before_mib = _emit(bench, server, group)
    seen: list[tuple[int, float | None]] = []
    job = Return(
        host=server.host,
        port=server.port,
        path=MSC3575_PATH,
        sessions=sessions(users),
        body=room_list(),
        later_body=room_list_later(),
        seconds=_EVENTS / _PACE + 2 * _REST_S,
        rate=_RATE,
    )
    returns = bench.do(job, holding=lambda: seen.append(_emit(bench, server, group)))
    ((events, grown_mib),) = seen
    return Seen(firsts, returns, before_mib, grown_mib, events)


def _emit(bench: Bench, server: Server, group: Group) -> tuple[int, float | None]:
    """Events, and how the server's memory grew."""
    before_mib = None if server.pid is None else rss_mib(server.pid)
    emitted = bench.homeserver.emit(group.name, _PACE, _EVENTS / _PACE, even=True)
    time.sleep(_REST_S)
    return len(emitted), None if server.pid is None or before_mib is None else rss_mib(server.pid) - before_mib


def _first(bench: Bench, server: Server, users: list[Identity]) -> Done:
    return bench.do(
        FirstRequests(
            host=server.host,
            port=server.port,
            path=MSC3575_PATH,
            sessions=sessions(users),
            body=room_list(),
            rate=_RATE,
            count=len(users),
        )
    )


def measurement(seen: Seen) -> Measurement:
    """The answers compared."""
    problems = {**seen.firsts.problems, **seen.returns.problems}
    one = Measurement(row=11, what=f"{seen.events} events behind", problems=problems)
    firsts, returns = milliseconds(seen.firsts.latencies_ns), milliseconds(seen.returns.latencies_ns)
    one.put("first request", firsts)
    one.put("next request", returns)
    for name, done in (("first answer, KB", seen.firsts), ("next answer, KB", seen.returns)):
        one.values[name] = round(len(done.sample) / 1000, 1)
    if firsts is not None and returns is not None:
        one.expect("p50, as a multiple of that of a first request", ratio(returns.p50, firsts.p50), _MOST)
    if seen.grown_mib is not None and seen.before_mib is not None:
        one.values["memory grown meanwhile, MiB"] = round(seen.grown_mib, 1)
        one.values["memory grown with nobody behind, MiB"] = round(seen.before_mib, 1)
        one.expect("memory grown for being behind, MiB", seen.grown_mib - seen.before_mib, _MOST_MIB)
    return one
