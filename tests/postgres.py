"""A real PostgreSQL for tests: the embedded one, shared by the test process, gone when it ends.

    from tests.postgres import fresh_database

    def setUp(self):
        self.conninfo = fresh_database()   # an empty database, some 30 ms; blocking, so for setUp only

The server starts on first use (0.6 s). Its durability is off, so nothing here tests crashes. Databases of finished
tests stay until the process ends; `drop_database(conninfo)` drops one earlier, with whoever is connected to it.
"""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg2
from attrs import frozen

from syncproxy.storage.embedded_binaries import database_user, find_binaries
from syncproxy.storage.embedded_cluster import ROLE, Cluster

_UNSAFE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200")
_numbers = itertools.count(1)


@frozen
class _Server:
    cluster: Cluster
    process: subprocess.Popen[bytes]
    home: Path

    def stop(self) -> None:
        """End it and remove its files."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(30)
        self.cluster.clean_up()
        shutil.rmtree(self.home, ignore_errors=True)


_servers: dict[int, _Server] = {}


def fresh_database() -> str:
    """The libpq connection string of a new, empty database."""
    name = f"test_{next(_numbers)}"
    _execute(f"CREATE DATABASE {name}")
    return _server().cluster.conninfo.replace("dbname=postgres", f"dbname={name}")


def drop_database(conninfo: str) -> None:
    """Drop a database that `fresh_database` made; ends its connections."""
    _execute(f"DROP DATABASE IF EXISTS {conninfo.rpartition('dbname=')[2]} WITH (FORCE)")


def _execute(sql: str) -> None:
    connection = psycopg2.connect(_server().cluster.conninfo)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
    finally:
        connection.close()


def _server() -> _Server:
    """The server of this process; a forked child gets its own."""
    if os.getpid() not in _servers:
        _servers[os.getpid()] = server = _start()
        atexit.register(server.stop)
    return _servers[os.getpid()]


def _start() -> _Server:
    home = Path(tempfile.mkdtemp(prefix="syncproxy-tests-"))
    if os.geteuid() == 0:
        # the database user passes through to its own directory
        home.chmod(0o711)
    user = database_user(None)
    cluster = Cluster(home, find_binaries(user, home), user, more_settings=_UNSAFE)
    cluster.prepare()
    process = cluster.launch()
    deadline = time.monotonic() + 60
    while not cluster.is_ready(process):
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"no PostgreSQL for {ROLE}: {cluster.last_words()}")
        time.sleep(0.01)
    return _Server(cluster, process, home)
