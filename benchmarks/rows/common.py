"""What rows share."""

from __future__ import annotations

from benchmarks.bench import Bench, Identity, NotMeasured, sessions
from benchmarks.figures import Measurement, Usage
from benchmarks.load.jobs import Done, FirstRequests, Hold, Polls, Session, Warm
from benchmarks.server import Meter, Server
from benchmarks.turns import Turn, turns_in

#: of the reactor's thread
_LONG_MS = 50


def warm(bench: Bench, server: Server, users: list[Identity]) -> Done:
    """One request of each user, so that all have a poller with data. NotMeasured if some are not answered."""
    dialect = bench.dialect
    job = Warm(host=server.host, port=server.port, path=dialect.path, sessions=sessions(users), body=dialect.body)
    done = bench.do(job)
    if len(done.latencies_ns) < len(users):
        raise NotMeasured(f"{len(done.latencies_ns)} of {len(users)} users were served: {done.problems}")
    return done


def first_requests(
    bench: Bench, server: Server, users: list[Identity], *, rate: float, count: int, body: str | None = None
) -> FirstRequests:
    """So many connections begun, at a rate, each user in its turn. `body`: default: the dialect's."""
    dialect = bench.dialect
    return FirstRequests(
        host=server.host,
        port=server.port,
        path=dialect.path,
        sessions=sessions(users),
        body=body or dialect.body,
        rate=rate,
        count=count,
    )


def hold(bench: Bench, server: Server, clients: list[Session], *, seconds: float, timeout_ms: int = 30_000) -> Hold:
    """One held request of each client, for so long."""
    dialect = bench.dialect
    return Hold(
        host=server.host,
        port=server.port,
        path=dialect.path,
        sessions=clients,
        body=dialect.body,
        later_body=dialect.later_body,
        seconds=seconds,
        timeout_ms=timeout_ms,
    )


def metered(bench: Bench, server: Server, job: Polls) -> tuple[Done, Usage]:
    """Do a job, and tell what the server took from when its sessions were in place."""
    meters: list[Meter] = []
    done = bench.do(job, holding=lambda: meters.append(Meter(server)))
    return done, meters[0].usage()


def per_request_us(cpu_s: float | None, requests: int) -> float:
    """Microseconds of CPU a request; 0 if it is not known."""
    return 0.0 if cpu_s is None or not requests else round(cpu_s / requests * 1e6, 1)


def ratio(value: float, floor: float) -> float:
    """How many times the floor."""
    return round(value / floor, 2) if floor else 0.0


def turns_since(server: Server, began_ns: int) -> list[Turn]:
    """The long turns of a server that is watched, since then; none of one that is not."""
    return [] if server.turns is None else turns_in(server.turns, began_ns)


def expect_short_turns(one: Measurement, turns: list[Turn]) -> None:
    """Note the longest of these turns, by the clock, and by CPU with its target."""
    one.values["longest turn, ms"] = round(max((turn.clock_ns / 1e6 for turn in turns), default=0), 1)
    one.expect("longest turn, ms of CPU", max((turn.cpu_ns / 1e6 for turn in turns), default=0), _LONG_MS)
