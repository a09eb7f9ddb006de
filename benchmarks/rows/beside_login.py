"""Row 12: rows 1, 3 and 4 while users in 2,000 rooms log in for the first time, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from time import monotonic_ns

import attrs

from benchmarks.bench import Bench, Identity, LoadClient
from benchmarks.figures import Measurement, Usage, milliseconds
from benchmarks.homeserver.emission import Emitted
from benchmarks.homeserver.world import Group
from benchmarks.load.jobs import Done, Warm
from benchmarks.rows import first_request, live, nothing_new
from benchmarks.rows.common import ratio, warm
from benchmarks.rows.first_login import alone
from benchmarks.server import Server

_ROOMS = 2000
_MOST_MS = 100
_EVER_NS = 2**63


@attrs.frozen
class Seen:
    """What went wrong, what the server took, and `taken_ns`: ns of each that was due from one time on until another.

    `sample`: an answer that a floor can give as well; "": a relay is the floor.
    """

    taken_ns: Callable[[int, int], list[int]]
    problems: dict[str, int]
    usage: Usage
    sample: str = ""


@attrs.define
class Logins:
    """First logins of these users, one after the other; when they began and ended, in ns of the monotonic clock."""

    jobs: list[Warm]
    began_ns: int = 0
    ended_ns: int = 0
    seconds: list[float] = attrs.field(factory=list)

    def run(self, client: LoadClient) -> None:
        """Log all of them in."""
        self.began_ns = monotonic_ns()
        for job in self.jobs:
            self.seconds.append(client.do(job).seconds)
        self.ended_ns = monotonic_ns()


#: measures new users of this name, for so many seconds; calls what it is given when it has begun
Work = Callable[[Bench, Server, str, float, Callable[[], None]], Seen]


def measure(bench: Bench) -> Iterator[Measurement]:
    """A measurement for each of the three rows, quiet first, then beside the logins, then of the floor."""
    works: dict[str, Work] = {"first requests": _first, "nothing new": _nothing, "live": _live}
    with bench.server() as server:
        for what, work in works.items():
            name = what.replace(" ", "-")
            quiet = work(bench, server, f"quiet-{name}", bench.options.amount(4, 8), lambda: None)
            logins = Logins([_login(bench, server, user) for user in _newcomers(bench, name)])
            with _beside(bench, logins) as start:
                busy = work(bench, server, f"busy-{name}", bench.options.amount(12, 20), start)
            with bench.floor(quiet.sample) if quiet.sample else bench.relay() as floor:
                least = work(bench, floor, f"floor-{name}", bench.options.amount(2, 5), lambda: None)
            yield measurement(f"{what}, beside first logins", quiet, busy, least, logins)


def _newcomers(bench: Bench, name: str) -> Iterator[Identity]:
    for number in range(int(bench.options.amount(3, 5))):
        (user,) = bench.homeserver.add(Group(f"newcomer-{name}{number}x", 1, _ROOMS))
        # the first time, the stand-in makes the rooms
        alone(bench, user)
        yield user


def _login(bench: Bench, server: Server, user: Identity) -> Warm:
    job = first_request.requests(bench, server, [user], 0)
    return Warm(host=job.host, port=job.port, path=job.path, sessions=job.sessions, body=job.body)


@contextmanager
def _beside(bench: Bench, logins: Logins) -> Iterator[Callable[[], None]]:
    """Yields what starts the logins; in the end they are over."""
    with bench.another_client() as client, ThreadPoolExecutor(1) as thread:
        runs: list[Future[None]] = []
        yield lambda: runs.append(thread.submit(logins.run, client))
        for run in runs:
            run.result()


def _first(bench: Bench, server: Server, name: str, seconds: float, begun: Callable[[], None]) -> Seen:
    users = bench.homeserver.add(Group(name, first_request.USERS, 50, circle=first_request.USERS))
    warm(bench, server, users)
    job = first_request.requests(bench, server, users, seconds)
    begun()
    done, usage = server.measured(lambda: bench.do(job))
    return seen(done, usage)


def _nothing(bench: Bench, server: Server, name: str, seconds: float, begun: Callable[[], None]) -> Seen:
    users = bench.homeserver.add(Group(name, nothing_new.USERS, 50, circle=nothing_new.USERS))
    warm(bench, server, users)
    job = nothing_new.polls(bench, server, users, seconds, nothing_new.RATE)
    done, usage = server.measured(lambda: bench.do(job, holding=begun))
    return seen(done, usage)


def _live(bench: Bench, server: Server, name: str, seconds: float, begun: Callable[[], None]) -> Seen:
    users = bench.homeserver.add(Group(name, live.USERS, live.ROOMS))
    warm(bench, server, users)
    emitted: list[Emitted] = []

    def emit() -> None:
        begun()
        emitted.extend(bench.homeserver.emit(name, live.RATE, seconds))

    def taken_ns(since_ns: int, until_ns: int) -> list[int]:
        among = [event for event in emitted if since_ns <= event.due_ns < until_ns]
        return live.latencies_ns(among, done, [user.user_id for user in users]).from_left

    done, usage = server.measured(lambda: bench.do(live.held(bench, server, users, seconds), holding=emit))
    return Seen(taken_ns, done.problems, usage)


def seen(done: Done, usage: Usage) -> Seen:
    """Of requests."""

    def taken_ns(since_ns: int, until_ns: int) -> list[int]:
        each = zip(done.due_ns, done.latencies_ns, strict=True)
        return [taken_ns for due_ns, taken_ns in each if since_ns <= due_ns < until_ns]

    return Seen(taken_ns, done.problems, usage, done.sample)


def measurement(what: str, quiet: Seen, busy: Seen, least: Seen, logins: Logins) -> Measurement:
    """Only what was due while somebody was logging in counts; the floor, `least`, has nobody who does."""
    one = Measurement(row=12, what=what, usage=busy.usage, problems=busy.problems)
    beside = milliseconds(busy.taken_ns(logins.began_ns, logins.ended_ns))
    one.put("latency", beside)
    one.put("latency, nobody logging in", milliseconds(quiet.taken_ns(0, logins.began_ns)))
    one.values["logins"] = len(logins.seconds)
    one.values["seconds a login"] = round(sum(logins.seconds) / max(len(logins.seconds), 1), 2)
    floored = milliseconds(least.taken_ns(0, _EVER_NS))
    if beside is not None and floored is not None:
        one.floor = {"p50 ms": floored.p50, "p99 ms": floored.p99}
        one.values["ratio to the floor, p50"] = ratio(beside.p50, floored.p50)
    if beside is not None:
        one.expect("p99 ms", beside.p99, _MOST_MS)
    return one
