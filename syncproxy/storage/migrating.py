"""Bringing the schema up to date, one migration a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from secrets import token_hex
from typing import Any, Protocol

from twisted.logger import Logger

from syncproxy.errors import ConfigurationError

_log = Logger(namespace="syncproxy")


class Queries(Protocol):
    """A connection of its own."""

    async def query(self, sql: str, args: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
        """Run statements; return the rows of the last."""


async def migrate(session: Queries) -> None:
    """Apply what is missing. Raises ConfigurationError if the schema is newer than this program.

    The caller holds the lock that makes us the only process.
    """
    await session.query(
        "CREATE SCHEMA IF NOT EXISTS syncproxy;"
        "CREATE TABLE IF NOT EXISTS syncproxy.migrations"
        " (version int PRIMARY KEY, applied_at timestamptz DEFAULT now())"
    )
    ((version,),) = await session.query("SELECT coalesce(max(version), 0) FROM syncproxy.migrations")
    known = migrations()
    if version > max(known):
        raise ConfigurationError(
            f"The database's schema is version {version}, newer than this program's {max(known)}: "
            "install the release that it was used with, or a newer one."
        )
    for number in range(version + 1, max(known) + 1):
        _log.info("database: migrating to version {number}", number=number)
        await session.query(
            f"BEGIN; SET LOCAL search_path TO syncproxy; {known[number]};"
            f"INSERT INTO syncproxy.migrations (version) VALUES ({number}); COMMIT"
        )
    await session.query("INSERT INTO syncproxy.meta (epoch) VALUES (%s) ON CONFLICT DO NOTHING", (token_hex(6),))


def migrations() -> dict[int, str]:
    """The SQL of each version."""
    folder = files("syncproxy.storage.migrations")
    return {int(path.name[:4]): path.read_text() for path in folder.iterdir() if path.name.endswith(".sql")}
