"""The server that is measured, and what it took: CPU and memory from `/proc`, and what its own metrics tell."""

from __future__ import annotations

import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, TypeVar

import attrs
import msgspec
import psycopg2
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.figures import Usage
from benchmarks.processes import cpu_s, descendants_cpu_s, forget_peak, peak_rss_mib

_T = TypeVar("_T")
_STALL = "syncproxy_reactor_stall_seconds"
_BATCH = "syncproxy_writer_batch_seconds"
_POLL = "syncproxy_poll_processing_seconds"
_REQUEST = "syncproxy_request_processing_seconds"
_COUNTS = """SELECT (SELECT sum(xact_commit + xact_rollback) FROM pg_stat_database)::bigint,
    pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"""
_STATEMENTS = """SELECT pid, query_start FROM pg_stat_activity
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
    #: where `benchmarks.turns` notes the reactor's long turns
    turns: Path | None = None

    def measured(self, work: Callable[[], _T]) -> tuple[_T, Usage]:
        """Do something, and tell what it took."""
        started, cpu, below = time.monotonic(), self._cpu_s(), self._database_cpu_s()
        database, told = self._database_counts(), self._metrics()
        if self.pid is not None:
            forget_peak(self.pid)
        result = work()
        usage = Usage(
            seconds=round(time.monotonic() - started, 3),
            cpu_s=_since(cpu, self._cpu_s()),
            peak_rss_mib=None if self.pid is None else round(peak_rss_mib(self.pid), 1),
            database_cpu_s=_since(below, self._database_cpu_s()),
            inside=_inside(told, self._metrics()),
        )
        if database is None:
            return result, usage
        now = self._database_counts() or database
        return result, msgspec.structs.replace(usage, transactions=now[0] - database[0], wal_bytes=now[1] - database[1])

    def statements(self) -> set[tuple[int, object]] | None:
        """The last statement of each of the proxy's database connections: what is new in it later was run meanwhile.

        Not of the one that has the lock, which is looked at every few seconds.
        """
        if self.database is None:
            return None
        return set(self._rows(self.database, _STATEMENTS))

    def _cpu_s(self) -> float | None:
        return None if self.pid is None else cpu_s(self.pid)

    def _database_cpu_s(self) -> float | None:
        return None if self.pid is None else descendants_cpu_s(self.pid)

    def _database_counts(self) -> tuple[int, int] | None:
        """Transactions and bytes of WAL so far. PostgreSQL counts transactions about a second late."""
        if self.database is None:
            return None
        ((transactions, wal_bytes),) = self._rows(self.database, _COUNTS)
        return transactions, wal_bytes

    @staticmethod
    def _rows(database: str, sql: str) -> list[tuple[Any, ...]]:
        connection = psycopg2.connect(database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def _metrics(self) -> dict[str, float]:
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
