"""Row 1: the first request of a new connection, the user's poller warm; Element X's room list."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench import Bench, Identity
from benchmarks.figures import Measurement, milliseconds
from benchmarks.homeserver.world import Group
from benchmarks.load.jobs import Done, FirstRequests
from benchmarks.rows.common import first_requests, per_request_us, ratio, warm
from benchmarks.server import Server

#: each user starts a connection every 200 ms: "a new connection that follows another at once" is slowed, on purpose
USERS = 5
RATE = 25.0
_NATIVE_RATE = 2.0
_ROOMS = (50, 500, 2000)
#: of the floor, before it counts
_WARM_S = 2.0


def measure(bench: Bench) -> Iterator[Measurement]:
    """A measurement for each number of rooms; the last compares it with the first."""
    smallest = 0.0
    with bench.server() as server:
        for rooms in bench.options.sizes(_ROOMS):
            users = bench.homeserver.add(Group(f"first{rooms}x", USERS, rooms, circle=USERS))
            warm(bench, server, users)
            one = _measured(bench, server, users, rooms)
            if "latency" in one.spreads:
                p50 = one.spreads["latency"].p50
                smallest = smallest or p50
                if rooms == _ROOMS[-1]:
                    one.expect("p50, as a multiple of that with 50 rooms", p50 / smallest, 1.5)
            yield one


def _measured(bench: Bench, server: Server, users: list[Identity], rooms: int) -> Measurement:
    done, usage = server.measured(lambda: _ask(bench, server, users))
    one = Measurement(row=1, what=f"first request, user in {rooms} rooms", usage=usage, problems=done.problems)
    latency = milliseconds(done.latencies_ns)
    one.put("latency", latency)
    one.values["answer, KB"] = round(len(done.sample) / 1000, 1)
    one.values["CPU a request, us"] = per_request_us(usage.cpu_s, len(done.latencies_ns))
    if latency is None:
        return one
    one.expect("p50 ms", latency.p50, 5)
    one.expect("p99 ms", latency.p99, 20)
    with bench.floor(done.sample) as floor:
        bench.do(requests(bench, floor, users, _WARM_S))
        least, least_usage = floor.measured(lambda: _ask(bench, floor, users))
    floored, least_us = milliseconds(least.latencies_ns), per_request_us(least_usage.cpu_s, len(least.latencies_ns))
    if floored is not None:
        one.floor = {"p50 ms": floored.p50, "p99 ms": floored.p99, "CPU a request, us": least_us}
        one.values["ratio to the floor, p50"] = ratio(latency.p50, floored.p50)
        one.values["ratio to the floor, CPU"] = ratio(one.values["CPU a request, us"], least_us)
    return one


def _ask(bench: Bench, server: Server, users: list[Identity]) -> Done:
    return bench.do(requests(bench, server, users, bench.options.amount(10, 12)))


def requests(bench: Bench, server: Server, users: list[Identity], seconds: float) -> FirstRequests:
    """For so long, each user in its turn."""
    rate = bench.options.rate(RATE, _NATIVE_RATE)
    return first_requests(bench, server, users, rate=rate, count=max(1, round(rate * seconds)))
