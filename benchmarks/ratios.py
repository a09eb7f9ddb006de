"""Ratios to the floor that are steady on a machine that is small and busy: CPU of the server to CPU of the floor.

Server and floor do the same at the same time, at a rate that both keep up with: what the machine does besides concerns
both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import attrs

from benchmarks.bench import Bench, Identity, LoadClient, NotMeasured
from benchmarks.homeserver.world import Group
from benchmarks.rows import first_request, live, nothing_new
from benchmarks.rows.common import warm
from benchmarks.server import Server

_ROUNDS = 5
_ROOMS = (50, 500)
_FIRST_S = 4.0
_POLLS_S = 4.0
_LIVE_S = 4.0
_POLL_RATE = 40.0
_LIVE_RATE = 25.0

#: measures, with a load client, CPU seconds for each thing done
Measure = Callable[[LoadClient], float]


@attrs.frozen
class Work:
    """The same thing done by the server and by its floor."""

    name: str
    server: Measure
    floor: Measure


def measure(bench: Bench) -> Iterator[dict[str, float]]:
    """The ratios of each round."""
    with ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(2))
        ours, theirs = (stack.enter_context(bench.another_client()) for _ in range(2))
        works = list(_works(bench, stack))
        for _ in range(_ROUNDS):
            found = {}
            for work in works:
                server_s, floor_s = threads.submit(work.server, ours), threads.submit(work.floor, theirs)
                found[work.name] = round(server_s.result() / floor_s.result(), 3)
            yield found


def _works(bench: Bench, stack: ExitStack) -> Iterator[Work]:
    server, relay = stack.enter_context(bench.server()), stack.enter_context(bench.relay())
    for rooms in _ROOMS:
        users = bench.homeserver.add(Group(f"rooms{rooms}x", first_request.USERS, rooms, circle=first_request.USERS))
        warm(bench, server, users)
        first = stack.enter_context(bench.floor(bench.do(first_request.requests(bench, server, users, 0.2)).sample))
        yield Work(f"first request, {rooms} rooms", _first(bench, server, users), _first(bench, first, users))
        sample = bench.do(nothing_new.polls(bench, server, users, 0.2, None)).sample
        nothing = stack.enter_context(bench.floor(sample))
        yield Work(f"nothing new, {rooms} rooms", _polls(bench, server, users), _polls(bench, nothing, users))
    # a device has one poller: the relay's users are others
    ours, theirs = (Group(f"live{whose}", 30, 10) for whose in ("ours", "theirs"))
    yield Work("live", _live(bench, server, ours), _live(bench, relay, theirs))


def _first(bench: Bench, server: Server, users: list[Identity]) -> Measure:
    def first_s(client: LoadClient) -> float:
        began_s = _cpu_s(server)
        done = client.do(first_request.requests(bench, server, users, _FIRST_S))
        return _each(_cpu_s(server) - began_s, len(done.latencies_ns))

    return first_s


def _polls(bench: Bench, server: Server, users: list[Identity]) -> Measure:
    def poll_s(client: LoadClient) -> float:
        began_s: list[float] = []
        job = nothing_new.polls(bench, server, users, _POLLS_S, _POLL_RATE)
        done = client.do(job, holding=lambda: began_s.append(_cpu_s(server)))
        return _each(_cpu_s(server) - began_s[0], len(done.latencies_ns))

    return poll_s


def _live(bench: Bench, server: Server, group: Group) -> Measure:
    users = bench.homeserver.add(group)
    warm(bench, server, users)

    def live_s(client: LoadClient) -> float:
        began_s: list[float] = []

        def emit() -> None:
            began_s.append(_cpu_s(server))
            bench.homeserver.emit(group.name, _LIVE_RATE, _LIVE_S)

        done = client.do(live.held(bench, server, users, _LIVE_S), holding=emit)
        return _each(_cpu_s(server) - began_s[0], len(done.arrivals))

    return live_s


def _cpu_s(server: Server) -> float:
    cpu_s = server.cpu_s()
    if cpu_s is None:
        raise NotMeasured("the server's CPU cannot be seen: give --target-pid")
    return cpu_s


def _each(cpu_s: float, done: int) -> float:
    if not done:
        raise NotMeasured("nothing was answered")
    return cpu_s / done
