"""Row 9: how soon clients are served after a start on a large database: after a clean stop, and after `kill -9`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import msgspec
import psycopg2

from benchmarks.bench import Bench, Identity, NotMeasured
from benchmarks.database import Counts
from benchmarks.figures import Measurement, Usage
from benchmarks.homeserver.world import Group
from benchmarks.processes import cpu_s, descendants_cpu_s, kill_all, peak_rss_mib
from benchmarks.rows.common import ratio, warm

#: rooms of each user; two users are in each
_ROOMS = 20
_CIRCLE = 2
_EVENTS_A_ROOM = 100
#: until what was begun is over: pollers that resume, what is written late
_REST_S = 5.0
_HEALTHY_S = 3
_SERVED_S = 5
#: events of before, as many for each room: copies of its newest, older than anything that somebody may see
_MORE_EVENTS = """INSERT INTO syncproxy.events
    SELECT room_id, '$past' || number || '-' || event_id, -row_number() OVER (), type, sender, NULL, NULL,
        origin_server_ts - number * 1000, recency - number * 1000, sort_ts - number * 1000, true, false, NULL, NULL,
        json
    FROM (SELECT DISTINCT ON (room_id) * FROM syncproxy.events WHERE in_timeline AND state_key IS NULL
          ORDER BY room_id, nid DESC) newest, generate_series(1, %s) number"""
_COUNTS = """SELECT (SELECT count(*) FROM syncproxy.rooms), (SELECT count(*) FROM syncproxy.events),
    (SELECT count(*) FROM syncproxy.devices)"""


@attrs.frozen
class Stored:
    """What the database has."""

    rooms: int
    events: int
    devices: int
    at_the_end: Counts = Counts()


@attrs.frozen
class Started:
    """Seconds from the start of the process until `/health` answers 200, and until the first client has its answer."""

    healthy_s: float
    served_s: float
    usage: Usage
    #: what the database had counted when the server was about to end
    at_the_end: Counts = Counts()


def measure(bench: Bench) -> Iterator[Measurement]:
    """A measurement for each way in which the server before had ended; a short run has a fifth of it all."""
    if bench.options.target is not None:
        raise NotMeasured("a server that runs elsewhere cannot be started from here")
    count = int(bench.options.amount(200, 1000))
    users = bench.homeserver.add(Group("start", count, _ROOMS, _CIRCLE))
    with bench.floor('{"pos":"1"}') as floor:
        warm(bench, floor, users[:1])
        least_s = time.monotonic() - floor.began_s
    with bench.new_directory() as data:
        stored = _fill(bench, data, users)
        started = _start(bench, data, users[0], stored.at_the_end, kill=True)
        yield measurement("after a clean stop", stored, started, least_s)
        yield measurement("after kill -9", stored, _start(bench, data, users[1], started.at_the_end), least_s)


def _fill(bench: Bench, data: Path, users: list[Identity]) -> Stored:
    """All users log in; then the rooms get a past."""
    with bench.server(data=data) as server:
        warm(bench, server, users)
        assert server.database is not None
        connection = psycopg2.connect(server.database)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(_MORE_EVENTS, (_EVENTS_A_ROOM,))
                cursor.execute(_COUNTS)
                ((rooms, events, devices),) = cursor.fetchall()
        finally:
            connection.close()
        time.sleep(_REST_S)
        return Stored(rooms, events, devices, server.database_counts())


def _start(bench: Bench, data: Path, user: Identity, before: Counts, *, kill: bool = False) -> Started:
    """Start it, serve one client, and wait until the others' pollers go on; then stop it, or kill all its processes.

    `before` is what its database had counted when the server before was about to end.
    """
    with bench.server(data=data) as server:
        warm(bench, server, [user])
        served_s = time.monotonic() - server.began_s
        assert server.pid is not None
        usage = Usage(
            seconds=round(served_s, 3),
            cpu_s=round(cpu_s(server.pid), 3),
            peak_rss_mib=round(peak_rss_mib(server.pid), 1),
            database_cpu_s=round(descendants_cpu_s(server.pid), 3),
        )
        counted = server.database_counts()
        usage = msgspec.structs.replace(
            usage,
            statements=grown(before.statements, counted.statements),
            wal_bytes=grown(before.wal_bytes, counted.wal_bytes),
        )
        time.sleep(_REST_S)
        at_the_end = server.database_counts()
        if kill:
            kill_all(server.pid)
    return Started(server.healthy_s, served_s, usage, at_the_end)


def grown(before: int | None, now: int | None) -> int | None:
    """How far something was counted since; what SIGKILL lost was counted from 0 again."""
    if before is None or now is None:
        return None
    return now - before if now >= before else now


def measurement(what: str, stored: Stored, started: Started, least_s: float) -> Measurement:
    """What was seen of a start."""
    had = f"{stored.rooms} rooms, {stored.events} events, {stored.devices} devices"
    one = Measurement(row=9, what=f"start {what}: {had}", usage=started.usage)
    one.floor = {"seconds until a client is served": round(least_s, 3)}
    one.values["ratio to the floor, seconds until a client is served"] = ratio(started.served_s, least_s)
    one.expect("seconds until healthy", started.healthy_s, _HEALTHY_S)
    one.expect("seconds until a client is served", started.served_s, _SERVED_S)
    return one
