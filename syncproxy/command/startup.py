"""Stages of starting that talk to the world: the database, and the homeserver, which may come later."""

from __future__ import annotations

from contextlib import AsyncExitStack

import msgspec
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from syncproxy.command.settings import Settings
from syncproxy.homeserver.client import HomeserverClient
from syncproxy.metrics import Metrics
from syncproxy.storage.database import Database
from syncproxy.storage.embedded import EmbeddedPostgres

_log = Logger(namespace="syncproxy")
#: how long the start waits for the homeserver's first answer
_GREETING_S = 5


class _Versions(msgspec.Struct):
    versions: list[str]


async def started_database(
    settings: Settings, stack: AsyncExitStack, clock: IReactorTime, metrics: Metrics
) -> Database:
    """The database, its schema up to date; without `--database` the embedded PostgreSQL is started for it."""
    conninfo, what = settings.database, "the one that --database names"
    if conninfo is None:
        embedded = EmbeddedPostgres(settings.data_dir, clock, user_name=settings.database_user)
        conninfo = await embedded.start()
        stack.push_async_callback(embedded.stop)
        what = f"embedded PostgreSQL {embedded.major} in {settings.data_dir}"
    database = Database(conninfo, connections=settings.database_connections, clock=clock, metrics=metrics)
    stack.push_async_callback(database.stop)
    await database.start()
    _log.info("database: {what}", what=what)
    return database


async def greet_homeserver(client: HomeserverClient, url: str, clock: IReactorTime) -> None:
    """Say what the homeserver answers to /versions; if it does not yet, warn and go on."""
    asking: Deferred[bytes] = ensureDeferred(client.versions())
    asking.addTimeout(_GREETING_S, clock)
    try:
        versions = msgspec.json.decode(await asking, type=_Versions).versions
    except CancelledError:
        # the service stops: whoever starts must not go on
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        _log.warn(
            "homeserver: {url} does not answer yet ({reason}); clients are told so until it does",
            url=url,
            reason=reason,
        )
        return
    _log.info("homeserver: {url} answers, versions {versions}", url=url, versions=", ".join(versions))
