"""Row 4: from the `/sync` answer that first had an event to the first byte at a client that holds a request."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from benchmarks.bench import Bench, Identity, sessions
from benchmarks.figures import Measurement, Usage, milliseconds
from benchmarks.homeserver.emission import Emitted
from benchmarks.homeserver.world import Group
from benchmarks.load.jobs import Arrival, Done, Hold
from benchmarks.rows.common import hold, per_request_us, ratio, warm
from benchmarks.server import Meter, Server

RATE = 100.0
USERS = 100
ROOMS = 20
#: how many of the users are in each room: each event comes with so many answers, and goes to so many clients
_CIRCLES = (1, 5)
#: with a real homeserver: a user with so many devices, for whom there are events
_NATIVE_USERS, _NATIVE_CIRCLE, _NATIVE_RATE = 5, 5, 2.0
#: after the last event, for what is still under way
_REST_S = 2.0


@attrs.define
class Latencies:
    """For each event and listener: ns from the first answer that had it, ns from when it was due.

    `behind` counts those that a newer event of the room took the place of, as the listener was told: it asks for one
    event of each room. `missing` counts those that never came.
    """

    from_left: list[int] = attrs.field(factory=list)
    from_due: list[int] = attrs.field(factory=list)
    behind: int = 0
    missing: int = 0


@attrs.frozen
class Seen:
    """What stand-in and client saw together."""

    latencies: Latencies
    events: int
    problems: dict[str, int]
    usage: Usage


def measure(bench: Bench) -> Iterator[Measurement]:
    """A measurement for each number of listeners."""
    if bench.options.native:
        with bench.server() as server:
            group = Group("livenative", _NATIVE_USERS, ROOMS, _NATIVE_CIRCLE)
            yield _measurement(_see(bench, server, group, _NATIVE_RATE), None, _NATIVE_CIRCLE, _NATIVE_RATE)
        return
    for circle in _CIRCLES:
        with bench.server() as server:
            seen = _see(bench, server, Group(f"live{circle}x", USERS, ROOMS, circle), RATE)
        with bench.relay() as floor:
            # users of its own: a device has one poller
            least = _see(bench, floor, Group(f"floor{circle}x", USERS, ROOMS, circle), RATE)
        yield _measurement(seen, least, circle, RATE)


def _see(bench: Bench, server: Server, group: Group, rate: float) -> Seen:
    users = bench.homeserver.add(group)
    warm(bench, server, users)
    seconds = bench.options.amount(10, 20)
    emitted: list[Emitted] = []
    job = held(bench, server, users, seconds)
    meters: list[Meter] = []

    def emit() -> None:
        meters.append(Meter(server))
        emitted.extend(bench.homeserver.emit(group.name, rate, seconds))

    done = bench.do(job, holding=emit)
    usage = meters[0].usage()
    latencies = latencies_ns(emitted, done, [user.user_id for user in users])
    return Seen(latencies, len(emitted), done.problems, usage)


def held(bench: Bench, server: Server, users: list[Identity], seconds: float) -> Hold:
    """One held request of each user, for so long and until what is under way then has come."""
    return hold(bench, server, sessions(users), seconds=seconds + _REST_S)


def _measurement(seen: Seen, least: Seen | None, circle: int, rate: float) -> Measurement:
    name = f"live, {rate:g} events/s, {circle} held per room"
    one = Measurement(row=4, what=name, usage=seen.usage, problems=seen.problems)
    latencies = seen.latencies
    live = milliseconds(latencies.from_left)
    cpu_us = per_request_us(seen.usage.cpu_s, len(latencies.from_left))
    one.put("latency", live)
    one.put("from when the event was due", milliseconds(latencies.from_due))
    one.values |= {"events": seen.events, "behind a newer one": latencies.behind, "CPU a delivery, us": cpu_us}
    one.expect("missing", latencies.missing, 0)
    if live is not None and circle == 1:
        one.expect("p50 ms", live.p50, 3)
        one.expect("p99 ms", live.p99, 15)
    floor = None if least is None else milliseconds(least.latencies.from_left)
    if live is not None and least is not None and floor is not None:
        least_us = per_request_us(least.usage.cpu_s, len(least.latencies.from_left))
        one.floor = {"p50 ms": floor.p50, "p99 ms": floor.p99, "CPU a delivery, us": least_us}
        one.values |= {"ratio to the floor, p50": ratio(live.p50, floor.p50)}
        one.values |= {"ratio to the floor, CPU": ratio(cpu_us, least_us)}
    return one


def latencies_ns(emitted: list[Emitted], done: Done, user_ids: list[str]) -> Latencies:
    """What became of these events, in the order in which they were sent."""
    arrived = {(user_ids[arrival.session], arrival.event_id): arrival for arrival in done.arrivals}
    found = Latencies()
    #: by listener and room, going back: the next event that came
    following: dict[tuple[str, str], Arrival] = {}
    for event in reversed(emitted):
        for user_id in event.listeners:
            arrival, after = arrived.get((user_id, event.event_id)), following.get((user_id, event.room_id))
            if arrival is not None and event.left_ns:
                found.from_left.append(arrival.first_ns - event.left_ns)
                found.from_due.append(arrival.first_ns - event.due_ns)
                following[user_id, event.room_id] = arrival
            elif after is not None and after.limited:
                found.behind += 1
            else:
                found.missing += 1
    return found
