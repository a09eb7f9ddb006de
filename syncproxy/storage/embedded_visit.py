"""A visit to the embedded database: by the socket of the server that runs, or of one started for the visit."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from pathlib import Path

from twisted.internet.interfaces import IReactorTime

from syncproxy.errors import ConfigurationError
from syncproxy.storage.embedded import EmbeddedPostgres
from syncproxy.storage.embedded_cluster import ROLE, InUse, lock

#: the line of PostgreSQL's pid file that names the socket's directory
_SOCKETS_LINE = 4


async def visited(data_dir: Path, clock: IReactorTime, stack: AsyncExitStack, *, user_name: str | None = None) -> str:
    """The libpq connection string of the data directory's server; the stack stops one that was started for this.

    Raises ConfigurationError, saying what to do: a visit never makes a database.
    """
    _see_that_it_is_there(data_dir)
    try:
        os.close(lock(data_dir))
    except InUse:
        return _running(data_dir)
    embedded = EmbeddedPostgres(data_dir, clock, user_name=user_name)
    conninfo = await embedded.start()
    stack.push_async_callback(embedded.stop)
    return conninfo


def _see_that_it_is_there(data_dir: Path) -> None:
    if not any(data_dir.glob("postgresql-*")):
        raise ConfigurationError(
            f"There is no embedded database in {data_dir}: name the directory with --data-dir, or give --database."
        )


def _running(data_dir: Path) -> str:
    """How to get into the server that a running syncproxy has."""
    for pid_file in data_dir.glob("postgresql-*/postmaster.pid"):
        try:
            lines = pid_file.read_text().splitlines()
        except OSError:
            # it stops just now, or belongs to somebody else
            continue
        if len(lines) > _SOCKETS_LINE:
            return f"host='{lines[_SOCKETS_LINE]}' user={ROLE} dbname=postgres"
    raise ConfigurationError(f"The database in {data_dir} cannot be entered: it is starting or stopping, or not yours.")
