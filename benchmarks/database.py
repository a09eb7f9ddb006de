"""What PostgreSQL counts by itself: statements, transactions, bytes of WAL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import psycopg2

from syncproxy.storage.embedded_binaries import database_user, find_binaries
from syncproxy.storage.embedded_cluster import Cluster

_LIMIT_S = 60
_PRELOAD = "shared_preload_libraries = 'pg_stat_statements'\n"
#: ours, and the proxy's looks at its lock every two seconds, are left out
_STATEMENTS = """SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements
    WHERE query !~ 'pg_stat_|pg_locks|^SELECT generation FROM meta$'"""
_COUNTS = """SELECT (SELECT sum(xact_commit + xact_rollback) FROM pg_stat_database)::bigint,
    pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"""


@attrs.frozen
class Counts:
    """So far; `None` is what is not counted. PostgreSQL counts transactions about a second late."""

    statements: int | None = None
    transactions: int | None = None
    wal_bytes: int | None = None


def prepare(data: Path) -> bool:
    """Make the proxy's embedded database, if there is none yet, so that it can count statements; whether it is new."""
    user = database_user(None)
    cluster = Cluster(data, find_binaries(user, data), user)
    if cluster.directory.exists():
        return False
    cluster.prepare()
    with (cluster.directory / "postgresql.conf").open("a") as settings:
        settings.write(_PRELOAD)
    cluster.clean_up()
    return True


def count_statements(database: str) -> None:
    """Begin to, where PostgreSQL can: `pg_stat_statements` has to be loaded and the user may have to be its master."""
    try:
        query(database, "CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    except psycopg2.Error:
        return


def counts(database: str) -> Counts:
    """All counts as of now."""
    try:
        ((statements,),) = query(database, _STATEMENTS)
    except psycopg2.Error:
        statements = None
    ((transactions, wal_bytes),) = query(database, _COUNTS)
    return Counts(statements, transactions, wal_bytes)


def query(database: str, sql: str) -> list[tuple[Any, ...]]:
    """Run a statement on a connection of its own; its rows, if it has any."""
    connection = psycopg2.connect(database, connect_timeout=_LIMIT_S, options=f"-c statement_timeout={_LIMIT_S}s")
    try:
        # no BEGIN and COMMIT, which would count
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description is not None else []
    finally:
        connection.close()
