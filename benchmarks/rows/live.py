"""Row 4: from the `/sync` answer that first had an event to the first byte at a client that holds a request."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench import Bench, Identity, Server, sessions
from benchmarks.figures import Measurement, milliseconds
from benchmarks.homeserver.emission import Emitted
from benchmarks.homeserver.world import Group
from benchmarks.load.jobs import Done, Hold
from benchmarks.requests import MSC3575_PATH, room_list, room_list_later
from benchmarks.rows.common import warm

_RATE = 100.0
_USERS = 100
_ROOMS = 20
#: how many of the users are in each room: each event comes with so many answers, and goes to so many clients
_CIRCLES = (1, 5)
#: after the last event, for what is still under way
_REST_S = 2.0


def measure(bench: Bench) -> Iterator[Measurement]:
    """A measurement for each number of listeners."""
    for circle in _CIRCLES:
        with bench.server() as server:
            users = bench.homeserver.add(Group(f"live{circle}x", _USERS, _ROOMS, circle))
            warm(bench, server, users)
            yield _measured(bench, server, users, circle)


def _measured(bench: Bench, server: Server, users: list[Identity], circle: int) -> Measurement:
    seconds = bench.options.amount(10, 60)
    emitted: list[Emitted] = []
    job = Hold(
        host=server.host,
        port=server.port,
        path=MSC3575_PATH,
        sessions=sessions(users),
        body=room_list(),
        later_body=room_list_later(),
        seconds=seconds + _REST_S,
    )
    done, usage = server.measured(
        lambda: bench.do(job, holding=lambda: emitted.extend(bench.homeserver.emit(f"live{circle}x", _RATE, seconds)))
    )
    one = Measurement(row=4, what=f"live, 100 events/s, {circle} held per room", usage=usage, problems=done.problems)
    from_left, from_due, missing = latencies_ns(emitted, done, [user.user_id for user in users])
    live = milliseconds(from_left)
    one.put("latency", live)
    one.put("from when the event was due", milliseconds(from_due))
    one.values |= {"events": float(len(emitted)), "deliveries": float(len(from_left)), "missing": float(missing)}
    one.expect("missing", missing, 0)
    if live is not None:
        one.expect("p50 ms", live.p50, 3)
        one.expect("p99 ms", live.p99, 15)
    return one


def latencies_ns(emitted: list[Emitted], done: Done, user_ids: list[str]) -> tuple[list[int], list[int], int]:
    """For each event and listener: ns from the first answer that had it, ns from when it was due; how many lack."""
    arrived = {(user_ids[arrival.session], arrival.event_id): arrival.first_ns for arrival in done.arrivals}
    from_left, from_due, missing = [], [], 0
    for event in emitted:
        for user_id in event.listeners:
            first_ns = arrived.get((user_id, event.event_id))
            if first_ns is None or not event.left_ns:
                missing += 1
            else:
                from_left.append(first_ns - event.left_ns)
                from_due.append(first_ns - event.due_ns)
    return from_left, from_due, missing
