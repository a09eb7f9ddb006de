"""Row 6: the first login of a user in 2,000 rooms: how long, how much memory, and how long nobody else is served.

And that of a user in one room of 50,000, all of whom the homeserver tells at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from http.client import HTTPConnection
from statistics import median
from urllib.parse import quote

import attrs

from benchmarks.bench import Bench, Identity
from benchmarks.figures import Measurement, Usage, spread
from benchmarks.homeserver.world import Group
from benchmarks.load.jobs import Done
from benchmarks.processes import rss_mib
from benchmarks.rows.common import expect_short_turns, ratio, turns_since, warm
from benchmarks.server import Server
from benchmarks.turns import Turn
from syncproxy.v2.filters import sync_filter

_ROOMS = 2000
_MEMBERS = 50_000
#: one event a room, as the proxy's first polls ask for
_FILTER = sync_filter(timeline_limit=1)
#: until the server is idle again
_REST_S = 2.0
_MOST_S = 1.5


@attrs.frozen
class Login:
    """A first login: its seconds, those that the homeserver alone takes for it, and the size of its answer."""

    seconds: float
    own_s: float
    answer_bytes: int
    idle_mib: float | None
    usage: Usage
    turns: list[Turn]

    @property
    def grown_mib(self) -> float | None:
        """The peak of memory above what it was when idle."""
        if self.usage.peak_rss_mib is None or self.idle_mib is None:
            return None
        return self.usage.peak_rss_mib - self.idle_mib


def measure(bench: Bench) -> Iterator[Measurement]:
    """The median of some logins, each at a server of its own; of turns, the longest of them all."""
    rooms = [Group(f"login{number}x", 1, _ROOMS) for number in _numbers(bench)]
    yield measurement(f"first login, {_ROOMS} rooms", [_login(bench, group) for group in rooms])
    members = [Group(f"huge{number}x", 1, 1, members=_MEMBERS, eager=True) for number in _numbers(bench)]
    yield measurement(f"first login, all {_MEMBERS} members of a room", [_login(bench, group) for group in members])


def _numbers(bench: Bench) -> range:
    return range(int(bench.options.amount(3, 5)))


def _login(bench: Bench, group: Group) -> Login:
    (user,) = bench.homeserver.add(group)
    (other,) = bench.homeserver.add(Group(f"before-{group.name}", 1, 20))
    # the first time, the stand-in makes the rooms
    alone(bench, user)
    own_s, answer_bytes = min(alone(bench, user) for _ in range(3))
    with bench.server(watched=True) as server:
        # what is loaded once, whoever logs in
        warm(bench, server, [other])
        time.sleep(_REST_S)
        idle_mib = None if server.pid is None else rss_mib(server.pid)
        began_ns = time.perf_counter_ns()
        done, usage = server.measured(lambda: _watched(bench, server, user))
        turns = turns_since(server, began_ns)
    (latency_ns,) = done.latencies_ns
    return Login(latency_ns / 1e9, own_s, answer_bytes, idle_mib, usage, turns)


def _watched(bench: Bench, server: Server, user: Identity) -> Done:
    """The login, and what it leaves to do."""
    done = warm(bench, server, [user])
    time.sleep(_REST_S)
    return done


def alone(bench: Bench, user: Identity) -> tuple[float, int]:
    """Seconds and bytes of the first `/sync` without anybody in between."""
    connection = HTTPConnection("127.0.0.1", bench.homeserver.port, timeout=60)
    began = time.perf_counter()
    try:
        path = f"/_matrix/client/v3/sync?filter={quote(_FILTER)}"
        connection.request("GET", path, headers={"Authorization": f"Bearer {user.token}"})
        answer = connection.getresponse().read()
    finally:
        connection.close()
    return time.perf_counter() - began, len(answer)


def measurement(what: str, logins: list[Login]) -> Measurement:
    """What the logins say together."""
    middle = sorted(logins, key=lambda login: login.seconds)[len(logins) // 2]
    one = Measurement(row=6, what=what, usage=middle.usage)
    beyond_s = median(login.seconds - login.own_s for login in logins)
    one.put("login", spread([login.seconds for login in logins], "s"))
    own_s = median(login.own_s for login in logins)
    one.values |= {
        "answer of /sync, MB": round(middle.answer_bytes / 1e6, 1),
        "ratio to the floor, seconds": ratio(middle.seconds, own_s),
    }
    one.floor = {"the homeserver's own seconds": round(own_s, 3)}
    one.expect("seconds beyond the homeserver's own", beyond_s, _MOST_S)
    grown = [login.grown_mib for login in logins if login.grown_mib is not None]
    if grown:
        one.expect("peak RSS above idle, MiB", median(grown), 120)
    stalls = [login.usage.inside["stalls over 50 ms"] for login in logins if login.usage.inside]
    if stalls:
        one.values["stalls over 50 ms, by the metric, in all"] = sum(stalls)
        expect_short_turns(one, [turn for login in logins for turn in login.turns])
    return one
