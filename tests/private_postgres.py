"""A PostgreSQL that a test may stop, kill and start again; `tests.postgres` is shared and always there.

    self.postgres = private_postgres()      # one for the whole process, running; blocking
    self.conninfo = self.postgres.fresh_database()

What it committed survives its end by `kill`, as the files do; not the machine's end.
"""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import signal
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg2

from syncproxy.storage.embedded_binaries import database_user, find_binaries
from syncproxy.storage.embedded_cluster import Cluster

_SETTINGS = ("fsync=off", "max_connections=50")
_PATIENCE_S = 60
_numbers = itertools.count(1)
_shared: list[PrivatePostgres] = []


def private_postgres() -> PrivatePostgres:
    """The one of this process, running, whatever the last test did to it."""
    if not _shared:
        _shared.append(PrivatePostgres())
        atexit.register(_shared[0].remove)
    _shared[0].start()
    return _shared[0]


def executed(sql: str, conninfo: str) -> list[Any]:
    """Run a statement on a connection of its own; its rows."""
    connection = psycopg2.connect(conninfo)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description is not None else []
    finally:
        connection.close()


class PrivatePostgres:
    """One server, started. All methods block."""

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="syncproxy-private-"))
        # a database user passes through to its own directory
        self._home.chmod(0o711)
        user = database_user(None)
        self._cluster = Cluster(self._home, find_binaries(user, self._home), user, more_settings=_SETTINGS)
        self._cluster.prepare()
        self._process = self._cluster.launch()

    def fresh_database(self) -> str:
        """The libpq connection string of a new, empty database."""
        name = f"private_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name}", self._cluster.conninfo)
        return self._cluster.conninfo.replace("dbname=postgres", f"dbname={name}")

    @property
    def socket(self) -> str:
        """Path of the server's Unix socket."""
        return f"{self._cluster.conninfo.split(chr(39))[1]}/.s.PGSQL.5432"

    def start(self) -> None:
        """Start it, unless it runs; processes of a killed one are waited for."""
        deadline = time.monotonic() + _PATIENCE_S
        while self._process.poll() is not None or not self._cluster.is_ready(self._process):
            if time.monotonic() > deadline:
                raise AssertionError(self._cluster.last_words())
            if self._process.poll() is not None:
                self._process = self._cluster.launch()
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it, ending every connection."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """`kill -9` of all its processes: an orphaned one could still finish a transaction."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        self._end(signal.SIGKILL)
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)

    def execute(self, sql: str, conninfo: str) -> list[Any]:
        """Run a statement on a connection of its own; its rows."""
        return executed(sql, conninfo)

    def remove(self) -> None:
        """End it and remove its files."""
        self._end(signal.SIGQUIT)
        self._cluster.clean_up()
        shutil.rmtree(self._home, ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(_PATIENCE_S)
