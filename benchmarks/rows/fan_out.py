"""Row 5: one event in a room of 1,000 clients that hold a request: when the last of them has it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise

import attrs

from benchmarks.bench import Bench, sessions
from benchmarks.figures import Measurement, Usage, milliseconds
from benchmarks.homeserver.emission import Emitted
from benchmarks.homeserver.world import Group
from benchmarks.load.jobs import Done
from benchmarks.rows.common import expect_short_turns, hold, per_request_us, ratio, turns_since, warm
from benchmarks.server import Server
from benchmarks.turns import Turn

_CLIENTS = 1000
_ROOMS = 20
_MEMBERS = 1100
#: seconds for which the next event waits at the most, until all are told and hold again
_PATIENCE_S = 20.0
#: all hold again when the server takes less than this part of a core for so many seconds
_RESTING = 0.05
_LOOK_S = 0.25
#: until what begins many connections is over
_SETTLED_S = 4.0


@attrs.frozen
class Variant:
    """How many pollers the clients have, and within how many ms the last client is to be told."""

    pollers: int
    limit_ms: float


#: a device has 20 connections at most: hence 50 pollers where the table has 20
_VARIANTS = (Variant(50, 200), Variant(_CLIENTS, 500))


@attrs.frozen
class Seen:
    """What stand-in and client saw together: ns until the last client had each event, and how many never had one."""

    last_ns: list[int]
    missing: int
    #: events that came before all clients had the one before
    overlapping: int
    events: int
    problems: dict[str, int]
    usage: Usage
    turns: list[Turn]


def measure(bench: Bench) -> Iterator[Measurement]:
    """A measurement for each number of pollers, and the floor with as many."""
    for variant in _VARIANTS:
        with bench.server(watched=True) as server:
            seen = _see(bench, server, "fan", variant.pollers)
        with bench.relay() as floor:
            # users of its own: a device has one poller
            least = _see(bench, floor, "floorfan", variant.pollers)
        yield measurement(seen, least, variant)


def _see(bench: Bench, server: Server, name: str, pollers: int) -> Seen:
    group = Group(f"{name}{pollers}x", pollers, _ROOMS, circle=pollers, members=_MEMBERS)
    users = bench.homeserver.add(group)
    warm(bench, server, users)
    clients = sessions(users, _CLIENTS // pollers)
    seconds = bench.options.amount(20, 30)
    emitted: list[Emitted] = []
    usages: list[Usage] = []
    began_ns = 0

    def emit() -> None:
        nonlocal began_ns
        # that a thousand connections begin at once is not of the events: the look for cycles that follows is waited for
        time.sleep(_SETTLED_S)
        began_ns = time.perf_counter_ns()
        events, usage = server.measured(lambda: list(_one_at_a_time(bench, server, group.name, seconds)))
        emitted.extend(events)
        usages.append(usage)

    job = hold(bench, server, clients, seconds=_SETTLED_S + seconds + _PATIENCE_S, timeout_ms=120_000)
    done = bench.do(job, holding=emit)
    last_ns, missing = last_clients_ns(emitted, done, len(clients))
    turns = turns_since(server, began_ns)
    return Seen(last_ns, missing, overlapping(emitted, done), len(emitted), done.problems, usages[0], turns)


def _one_at_a_time(bench: Bench, server: Server, group: str, seconds: float) -> Iterator[Emitted]:
    """Events for so long, each when all clients were told of the one before and hold again."""
    ends_s = time.monotonic() + seconds
    while time.monotonic() < ends_s:
        yield from bench.homeserver.emit(group, 1 / _LOOK_S, 1.5 * _LOOK_S, even=True)
        _rest(server)


def _rest(server: Server) -> None:
    """Until the server has nothing to do, as far as that can be seen; with patience."""
    ends_s = time.monotonic() + _PATIENCE_S
    if server.cpu_s() is None:
        time.sleep(_PATIENCE_S / 2)
        return
    resting = 0
    # twice, for a client may have been about to ask again
    while resting < 2 and time.monotonic() < ends_s:
        before_s = server.cpu_s() or 0.0
        time.sleep(_LOOK_S)
        took_s = (server.cpu_s() or 0.0) - before_s
        resting = resting + 1 if took_s < _RESTING * _LOOK_S else 0


def measurement(seen: Seen, least: Seen, variant: Variant) -> Measurement:
    """What was seen, and the floor of it."""
    what = f"one event to {_CLIENTS} held clients, {variant.pollers} pollers in the room"
    one = Measurement(row=5, what=what, usage=seen.usage, problems=seen.problems)
    last = milliseconds(seen.last_ns)
    one.put("last client", last)
    one.values |= {"events": seen.events, "CPU a delivery, us": _cpu_us(seen)}
    one.expect("missing", seen.missing, 0)
    one.expect("overlapping", seen.overlapping, 0)
    if last is not None:
        one.expect("last client, p50 ms", last.p50, variant.limit_ms)
    floored = milliseconds(least.last_ns)
    if floored is not None and last is not None:
        one.floor = {"p50 ms": floored.p50, "p99 ms": floored.p99, "CPU a delivery, us": _cpu_us(least)}
        one.values["ratio to the floor, p50"] = ratio(last.p50, floored.p50)
    expect_short_turns(one, seen.turns)
    return one


def _cpu_us(seen: Seen) -> float:
    return per_request_us(seen.usage.cpu_s, seen.events * _CLIENTS)


def last_clients_ns(emitted: list[Emitted], done: Done, clients: int) -> tuple[list[int], int]:
    """For each event that all clients had: ns from the first answer with it to then; and how many deliveries lack."""
    arrived: dict[str, list[int]] = {event.event_id: [] for event in emitted}
    for arrival in done.arrivals:
        if arrival.event_id in arrived:
            arrived[arrival.event_id].append(arrival.first_ns)
    missing = sum(clients - len(times) for times in arrived.values())
    told = [event for event in emitted if event.left_ns and len(arrived[event.event_id]) == clients]
    return [max(arrived[event.event_id]) - event.left_ns for event in told], missing


def overlapping(emitted: list[Emitted], done: Done) -> int:
    """How many events came before the last client had the one before: what they took is not that of one event."""
    last_ns: dict[str, int] = {}
    for arrival in done.arrivals:
        last_ns[arrival.event_id] = max(arrival.first_ns, last_ns.get(arrival.event_id, 0))
    return sum(later.due_ns < last_ns.get(one.event_id, 0) for one, later in pairwise(emitted))
