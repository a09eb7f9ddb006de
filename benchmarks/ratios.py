"""Ratios to the floor that are steady on a machine that is small and busy: CPU of the server to CPU of the floor.

Server and floor take turns, and each ratio is of two measurements that follow one another: what the machine does
besides concerns both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import attrs

from benchmarks.bench import Bench, Identity, NotMeasured
from benchmarks.homeserver.emission import Emitted
from benchmarks.homeserver.world import Group
from benchmarks.rows import first_request, live, nothing_new, polls
from benchmarks.rows.common import warm
from benchmarks.server import Server

_ROUNDS = 5
_REQUESTS = 75
_POLLS_S = 1.5
_LIVE_S = 2.0
_FLOOD_S = 1.5
#: until what was before is stored
_REST_S = 0.5


@attrs.frozen
class Work:
    """What is measured: CPU seconds for each thing done, by the server and by its floor."""

    name: str
    server: Callable[[], float]
    floor: Callable[[], float]


def measure(bench: Bench) -> Iterator[dict[str, float]]:
    """The ratios of each round."""
    with ExitStack() as stack:
        works = list(_works(bench, stack))
        for _ in range(_ROUNDS):
            yield {work.name: round(work.server() / work.floor(), 3) for work in works}


def _works(bench: Bench, stack: ExitStack) -> Iterator[Work]:
    server, relay = stack.enter_context(bench.server()), stack.enter_context(bench.relay())
    users = bench.homeserver.add(Group("rooms50x", 5, 50, circle=5))
    warm(bench, server, users)
    first = stack.enter_context(bench.floor(bench.do(first_request.requests(bench, server, users, 5)).sample))
    yield Work("first request, CPU", lambda: _first_s(bench, server, users), lambda: _first_s(bench, first, users))
    done = bench.do(nothing_new.polls(bench, server, users, 0.2, None))
    nothing = stack.enter_context(bench.floor(done.sample))
    yield Work("nothing new, CPU", lambda: _poll_s(bench, server, users), lambda: _poll_s(bench, nothing, users))
    # a device has one poller: the relay's users are others
    ours, theirs = Group("liveours", 30, 10), Group("livetheirs", 30, 10)
    yield Work("live, CPU", _live(bench, server, ours), _live(bench, relay, theirs))
    ours, theirs = Group("pollsours", 100, 10), Group("pollstheirs", 100, 10)
    flooded, least = _flooded(bench, server, ours), _flooded(bench, relay, theirs)
    yield Work("polls with a new event, CPU", lambda: flooded(False), lambda: least(False))
    yield Work("polls with a known event, CPU", lambda: flooded(True), lambda: least(True))


def _first_s(bench: Bench, server: Server, users: list[Identity]) -> float:
    began_s = _cpu_s(server)
    done = bench.do(first_request.requests(bench, server, users, _REQUESTS))
    return _each(_cpu_s(server) - began_s, len(done.latencies_ns))


def _poll_s(bench: Bench, server: Server, users: list[Identity]) -> float:
    job, began_s = nothing_new.polls(bench, server, users, _POLLS_S, None), list[float]()
    done = bench.do(job, holding=lambda: began_s.append(_cpu_s(server)))
    return _each(_cpu_s(server) - began_s[0], len(done.latencies_ns))


def _live(bench: Bench, server: Server, group: Group) -> Callable[[], float]:
    users = bench.homeserver.add(group)
    warm(bench, server, users)

    def live_s() -> float:
        emitted: list[Emitted] = []
        began_s: list[float] = []

        def emit() -> None:
            began_s.append(_cpu_s(server))
            emitted.extend(bench.homeserver.emit(group.name, live.RATE, _LIVE_S))

        done = bench.do(live.hold(bench, server, users, _LIVE_S), holding=emit)
        arrived, *_ = live.latencies_ns(emitted, done, [user.user_id for user in users])
        return _each(_cpu_s(server) - began_s[0], len(arrived))

    return live_s


def _flooded(bench: Bench, server: Server, group: Group) -> Callable[[bool], float]:
    warm(bench, server, bench.homeserver.add(group))

    def flood_s(repeats: bool) -> float:
        time.sleep(_REST_S)
        began_s = _cpu_s(server)
        flood = polls.flood(bench, group, _FLOOD_S, repeats=repeats)
        return _each(_cpu_s(server) - began_s, flood.answers)

    return flood_s


def _cpu_s(server: Server) -> float:
    cpu_s = server.cpu_s()
    if cpu_s is None:
        raise NotMeasured("the server's CPU cannot be seen: give --target-pid")
    return cpu_s


def _each(cpu_s: float, count: int) -> float:
    if not count:
        raise NotMeasured("nothing was answered")
    return cpu_s / count
