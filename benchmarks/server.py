"""The server that is measured, and what it took: CPU and memory from `/proc`, and what its own metrics tell."""

from __future__ import annotations

import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import TypeVar

import attrs
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.database import Counts, counts, query
from benchmarks.figures import Usage
from benchmarks.processes import cpu_s, descendants_cpu_s, forget_peak, peak_rss_mib

_T = TypeVar("_T")
_STALL = "syncproxy_reactor_stall_seconds"
_BATCH = "syncproxy_writer_batch_seconds"
_POLL = "syncproxy_poll_processing_seconds"
_REQUEST = "syncproxy_request_processing_seconds"
_LAST_STATEMENTS = """SELECT pid, query_start FROM pg_stat_activity
    WHERE application_name = 'syncproxy' AND query_start IS NOT NULL
        AND pid NOT IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted)"""


@attrs.frozen
class Server:
    """A server that is measured; what is `None` cannot be seen from here."""

    host: str
    port: int
    pid: int | None = None
    database: str | None = None
    metrics_port: int | None = None
    #: when its process was started, in s of the monotonic clock, and how long `/health` then took to answer 200
    began_s: float = 0.0
    healthy_s: float = 0.0
    #: where `benchmarks.turns` notes the reactor's long turns
    turns: Path | None = None

    def measured(self, work: Callable[[], _T]) -> tuple[_T, Usage]:
        """Do something, and tell what it took."""
        meter = Meter(self)
        result = work()
        return result, meter.usage()

    def statements(self) -> set[tuple[int, object]] | None:
        """The last statement of each of the proxy's database connections: what is new in it later was run meanwhile.

        Not of the one that has the lock, which is looked at every few seconds.
        """
        if self.database is None:
            return None
        return set(query(self.database, _LAST_STATEMENTS))

    def cpu_s(self) -> float | None:
        """CPU seconds of the server so far."""
        return None if self.pid is None else cpu_s(self.pid)

    def database_cpu_s(self) -> float | None:
        """CPU seconds of the processes below it, which are PostgreSQL's."""
        return None if self.pid is None else descendants_cpu_s(self.pid)

    def database_counts(self) -> Counts:
        """What its database counts."""
        return Counts() if self.database is None else counts(self.database)

    def metrics(self) -> dict[str, float]:
        """The samples of the server's own metrics that say something here."""
        if self.metrics_port is None:
            return {}
        connection = HTTPConnection(self.host, self.metrics_port, timeout=30)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        return {
            sample.name + (f" {sample.labels['le']}" if "le" in sample.labels else ""): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


class Meter:
    """Tells what a server took from now on."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._database, self._told = server.database_counts(), server.metrics()
        if server.pid is not None:
            forget_peak(server.pid)
        self._started, self._cpu_s, self._below_s = time.monotonic(), server.cpu_s(), server.database_cpu_s()

    def usage(self) -> Usage:
        """Until now."""
        server, seconds = self._server, time.monotonic() - self._started
        cpu_s, below_s = _since(self._cpu_s, server.cpu_s()), _since(self._below_s, server.database_cpu_s())
        before, now = self._database, server.database_counts()
        return Usage(
            seconds=round(seconds, 3),
            cpu_s=cpu_s,
            peak_rss_mib=None if server.pid is None else round(peak_rss_mib(server.pid), 1),
            database_cpu_s=below_s,
            statements=_grown(before.statements, now.statements),
            transactions=_grown(before.transactions, now.transactions),
            wal_bytes=_grown(before.wal_bytes, now.wal_bytes),
            inside=_inside(self._told, server.metrics()),
        )


def _inside(before: dict[str, float], now: dict[str, float]) -> dict[str, float]:
    """Stalls of the reactor, and mean times of what the proxy does, between two looks at its metrics."""

    def grown(name: str) -> float:
        return now.get(name, 0.0) - before.get(name, 0.0)

    if not now:
        return {}
    found = {"stalls over 50 ms": grown(f"{_STALL}_count") - grown(f"{_STALL}_bucket 0.05")}
    for label, name in (("poll processing", _POLL), ("writer batch", _BATCH), ("request processing", _REQUEST)):
        if grown(f"{name}_count"):
            found[f"{label}, mean ms"] = round(grown(f"{name}_sum") / grown(f"{name}_count") * 1000, 3)
    return found


def _since(before: float | None, now: float | None) -> float | None:
    return None if before is None or now is None else round(now - before, 3)


def _grown(before: int | None, now: int | None) -> int | None:
    return None if before is None or now is None else now - before
