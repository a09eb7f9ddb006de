"""Row 3: nothing new, `timeout=0`: latency at a modest rate, and how many a second at concurrency 16."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from benchmarks.bench import Bench, Identity, sessions
from benchmarks.figures import Measurement, Usage, milliseconds
from benchmarks.homeserver.world import Group
from benchmarks.load.jobs import Done, Polls
from benchmarks.rows.common import metered, per_request_us, ratio, warm
from benchmarks.server import Server

USERS = 4
#: connections of each user: 16 in all
_EACH = 4
_ROOMS = (50, 2000)
RATE = 100.0
_NATIVE_RATE = 20.0
#: of each size, where they take turns
_ROUNDS = 5
#: statements a request: what pollers store that are answered meanwhile is no request's
_FEW = 0.05


def measure(bench: Bench) -> Iterator[Measurement]:
    """Latency, then throughput, for each number of rooms; then latency with few and with many, in turns."""
    groups: dict[int, list[Identity]] = {}
    with bench.server() as server:
        for rooms in bench.options.sizes(_ROOMS):
            users = groups[rooms] = bench.homeserver.add(Group(f"nothing{rooms}x", USERS, rooms, circle=USERS))
            warm(bench, server, users)
            yield _latency(bench, server, users, rooms)
            yield _throughput(bench, server, users, rooms)
        if len(groups) > 1:
            yield _in_turns(bench, server, groups)


def _in_turns(bench: Bench, server: Server, groups: Mapping[int, list[Identity]]) -> Measurement:
    """Latencies of all sizes in the same minute: the machine's own moods change them more than rooms do."""
    rate = bench.options.rate(RATE, _NATIVE_RATE)
    latencies_ns: dict[int, list[int]] = {rooms: [] for rooms in groups}
    problems: Counter[str] = Counter()
    for _ in range(_ROUNDS):
        for rooms, users in groups.items():
            done, _ = _poll(bench, server, users, bench.options.amount(1, 3), rate)
            latencies_ns[rooms] += done.latencies_ns
            problems.update(done.problems)
    return compared(f"nothing new, {rate:g} requests/s, in turns", latencies_ns, dict(problems))


def compared(what: str, latencies_ns: Mapping[int, list[int]], problems: dict[str, int]) -> Measurement:
    """The p50 of those with many rooms, as a multiple of that of those with few."""
    one = Measurement(row=3, what=what, problems=problems)
    for rooms, seen in latencies_ns.items():
        one.put(f"latency, {rooms} rooms", milliseconds(seen))
    few, many = (one.spreads.get(f"latency, {rooms} rooms") for rooms in _ROOMS)
    if few is not None and many is not None:
        one.expect("p50 with 2000 rooms, as a multiple of that with 50", many.p50 / few.p50, 1.2)
    return one


def _latency(bench: Bench, server: Server, users: list[Identity], rooms: int) -> Measurement:
    seconds, rate = bench.options.amount(5, 15), bench.options.rate(RATE, _NATIVE_RATE)
    done, usage = _poll(bench, server, users, seconds, rate)
    one = Measurement(
        row=3, what=f"nothing new, {rooms} rooms, {rate:g} requests/s", usage=usage, problems=done.problems
    )
    latency = milliseconds(done.latencies_ns)
    one.put("latency", latency)
    if latency is not None:
        one.expect("p50 ms", latency.p50, 1)
    with bench.floor(done.sample) as floor:
        floored = milliseconds(_poll(bench, floor, users, seconds, rate)[0].latencies_ns)
    if floored is not None and latency is not None:
        one.floor = {"p50 ms": floored.p50, "p99 ms": floored.p99}
        one.values["ratio to the floor, p50"] = ratio(latency.p50, floored.p50)
    return one


def _throughput(bench: Bench, server: Server, users: list[Identity], rooms: int) -> Measurement:
    seconds = bench.options.amount(5, 15)
    done, usage = _poll(bench, server, users, seconds, None)
    one = Measurement(row=3, what=f"nothing new, {rooms} rooms, concurrency 16", usage=usage, problems=done.problems)
    one.put("latency", milliseconds(done.latencies_ns))
    cpu_us = per_request_us(usage.cpu_s, len(done.latencies_ns))
    rate = len(done.latencies_ns) / done.seconds
    one.values |= {"requests/s": round(rate, 1), "CPU a request, us": cpu_us}
    with bench.floor(done.sample) as floor:
        _poll(bench, floor, users, 1, None)
        least, least_usage = _poll(bench, floor, users, seconds, None)
    least_us = per_request_us(least_usage.cpu_s, len(least.latencies_ns))
    one.floor = {"requests/s": round(len(least.latencies_ns) / least.seconds, 1), "CPU a request, us": least_us}
    one.expect("requests/s", rate, 2500, at_least=True)
    if usage.statements is not None:
        one.expect("statements a request", usage.statements / max(len(done.latencies_ns), 1), _FEW)
    if cpu_us:
        # what one core could do with nothing beside it: the other three processes share two cores with the server
        one.values["requests per CPU second"] = round(1e6 / cpu_us, 1)
        one.values["ratio to the floor, CPU"] = ratio(cpu_us, least_us)
        one.expect("CPU, as a multiple of the floor's", ratio(cpu_us, least_us), 1.8)
    return one


def _poll(
    bench: Bench, server: Server, users: list[Identity], seconds: float, rate: float | None
) -> tuple[Done, Usage]:
    return metered(bench, server, polls(bench, server, users, seconds, rate))


def polls(bench: Bench, server: Server, users: list[Identity], seconds: float, rate: float | None) -> Polls:
    """For so long, on four connections of each user; without a rate, as many as are answered."""
    return Polls(
        host=server.host,
        port=server.port,
        path=bench.dialect.path,
        sessions=sessions(users, _EACH),
        body=bench.dialect.body,
        later_body=bench.dialect.later_body,
        seconds=seconds,
        rate=rate,
    )
