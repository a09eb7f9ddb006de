"""Row 8: what a user takes of the server's memory: 200 rooms, and a connection that is held, with a window of 20."""

from __future__ import annotations

import time
from collections.abc import Iterator

import attrs

from benchmarks.bench import Bench, Identity, NotMeasured, sessions
from benchmarks.figures import Measurement, Usage
from benchmarks.homeserver.world import Group
from benchmarks.load.jobs import Hold
from benchmarks.processes import rss_mib
from benchmarks.requests import MSC3575_PATH, room_list, room_list_later
from benchmarks.rows.common import warm
from benchmarks.server import Server

_ROOMS = 200
#: how many of the users are in each room: 1,000 users are in 20,000 rooms
_CIRCLE = 10
_MOST_KB = 150
#: until what was begun is over
_REST_S = 5.0


@attrs.frozen
class Seen:
    """Resident memory in MiB: before the users came, while their connections are held, and at its peak."""

    idle_mib: float
    held_mib: float
    usage: Usage


def measure(bench: Bench) -> Iterator[Measurement]:
    """One measurement, of fewer users in a short run."""
    count = int(bench.options.amount(200, 1000))
    (other,) = bench.homeserver.add(Group("before-memory", 1, 20))
    users = bench.homeserver.add(Group("memory", count, _ROOMS, _CIRCLE))
    with bench.server() as server:
        # what is loaded once, whoever comes
        warm(bench, server, [other])
        time.sleep(_REST_S)
        yield measurement(_see(bench, server, users), count)


def _see(bench: Bench, server: Server, users: list[Identity]) -> Seen:
    if server.pid is None:
        raise NotMeasured("memory can only be seen of a process that runs here: --target-pid names it")
    idle_mib = rss_mib(server.pid)
    warm(bench, server, users)
    held_mib: list[float] = []
    pid = server.pid

    def look() -> None:
        time.sleep(_REST_S)
        held_mib.append(rss_mib(pid))

    job = Hold(
        host=server.host,
        port=server.port,
        path=MSC3575_PATH,
        sessions=sessions(users),
        body=room_list(),
        later_body=room_list_later(),
        seconds=2 * _REST_S,
        timeout_ms=300_000,
    )
    done, usage = server.measured(lambda: bench.do(job, holding=look))
    if done.problems:
        raise NotMeasured(f"not all connections were held: {done.problems}")
    return Seen(idle_mib, held_mib[0], usage)


def measurement(seen: Seen, users: int) -> Measurement:
    """What that is for each user."""
    what = f"memory, {users} users in {_ROOMS} rooms, {_CIRCLE} users a room, a held connection each"
    one = Measurement(row=8, what=what, usage=seen.usage)
    one.values |= {"idle, MiB": round(seen.idle_mib, 1), "held, MiB": round(seen.held_mib, 1)}
    one.expect("KB a user", (seen.held_mib - seen.idle_mib) * 1.048576e3 / users, _MOST_KB)
    return one
