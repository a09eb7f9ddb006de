"""Row 8: what a user takes of the server's memory: 200 rooms, and a connection that is held, with a window of 20."""

from __future__ import annotations

import time
from collections.abc import Iterator

import attrs

from benchmarks.bench import Bench, Identity, NotMeasured, sessions
from benchmarks.figures import Measurement, Usage
from benchmarks.homeserver.world import Group
from benchmarks.processes import rss_mib
from benchmarks.rows.common import hold, ratio, warm
from benchmarks.server import Server

_ROOMS = 200
#: how many of the users are in each room: 1,000 users are in 20,000 rooms
_CIRCLE = 10
_MOST_KB = 150
#: as many as tell what one takes
_FLOOR_USERS = 200
#: until what was begun is over
_REST_S = 5.0


@attrs.frozen
class Seen:
    """Resident memory in MiB: before the users came, while their connections are held, and at its peak."""

    idle_mib: float
    held_mib: float
    usage: Usage

    def kb_each(self, users: int) -> float:
        """What a user takes, in KB."""
        return (self.held_mib - self.idle_mib) * 1.048576e3 / users


def measure(bench: Bench) -> Iterator[Measurement]:
    """One measurement, of fewer users in a short run."""
    count = int(bench.options.amount(200, 1000))
    (other,) = bench.homeserver.add(Group("before-memory", 1, 20))
    users = bench.homeserver.add(Group("memory", count, _ROOMS, _CIRCLE))
    with bench.server() as server:
        # what is loaded once, whoever comes
        warm(bench, server, [other])
        time.sleep(_REST_S)
        seen = _see(bench, server, users)
    # users of its own: a device has one poller; few rooms, of which nothing is kept but what malloc does not give back
    few = bench.homeserver.add(Group("floormemory", _FLOOR_USERS, 1, _CIRCLE))
    with bench.relay() as floor:
        least = _see(bench, floor, few)
    yield measurement(seen, count, least, _FLOOR_USERS)


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

    job = hold(bench, server, sessions(users), seconds=2 * _REST_S, timeout_ms=300_000)
    done, usage = server.measured(lambda: bench.do(job, holding=look))
    if done.problems:
        raise NotMeasured(f"not all connections were held: {done.problems}")
    return Seen(idle_mib, held_mib[0], usage)


def measurement(seen: Seen, users: int, least: Seen, few: int) -> Measurement:
    """What that is for each user, and for each of the few that the floor has."""
    what = f"memory, {users} users in {_ROOMS} rooms, {_CIRCLE} users a room, a held connection each"
    one = Measurement(row=8, what=what, usage=seen.usage)
    one.values |= {"idle, MiB": round(seen.idle_mib, 1), "held, MiB": round(seen.held_mib, 1)}
    one.floor = {"KB a user": round(least.kb_each(few), 1)}
    one.values["ratio to the floor, KB a user"] = ratio(seen.kb_each(users), least.kb_each(few))
    one.expect("KB a user", seen.kb_each(users), _MOST_KB)
    return one
