"""The embedded PostgreSQL: started with the service, supervised, stopped with it. Used if there is no `--database`."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from syncproxy.errors import ConfigurationError
from syncproxy.storage.embedded_binaries import database_user, find_binaries
from syncproxy.storage.embedded_cluster import Cluster, InUse, lock

_POLL_S = 0.02
#: how long a server may take to come up; after a crash it replays its log first
_START_S = 120
#: how long it may take to stop by itself, before it is made to
_STOP_S = 30
_WATCH_S = 1.0
_LOCK_S = 2


class EmbeddedPostgres:
    """A PostgreSQL of our own under `data_dir`.

    It is in a session of its own and dies when we die. A server that ends by itself is started again within a second or
    two; the pool reconnects. As root its processes are those of `user_name`, or of `syncproxy` or `postgres`.
    """

    _log = Logger()

    def __init__(self, data_dir: Path, clock: IReactorTime, *, user_name: str | None = None) -> None:
        self._data_dir = data_dir.absolute()
        self._clock = clock
        self._user_name = user_name
        self._lock: int | None = None
        self._cluster: Cluster | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._watch = LoopingCall(self._look)
        self._watch.clock = clock

    @property
    def major(self) -> int:
        """The server's major version, once it has started."""
        assert self._cluster is not None
        return self._cluster.binaries.major

    async def start(self) -> str:
        """Start it, make the database first if there is none; return the libpq connection string.

        Waits for a server that a killed syncproxy left behind. Raises ConfigurationError, saying what to do.
        """
        self._lock = await self._locked()
        try:
            self._cluster = await deferToThread(self._prepared)
            await self._old_server_gone(self._cluster)
            self._process = self._cluster.launch()
            await self._ready(self._cluster, self._process)
        except BaseException:
            await self.stop()
            raise
        self._watch.start(_WATCH_S, now=False).addErrback(lambda failure: self._log.failure("supervision", failure))
        return self._cluster.conninfo

    async def stop(self) -> None:
        """Stop it: SIGINT ends its connections, a checkpoint is written. To be called when the pool is closed."""
        if self._watch.running:
            self._watch.stop()
        process, self._process = self._process, None
        if process is not None:
            await self._stopped(process)
        if self._cluster is not None:
            self._cluster.clean_up()
        held, self._lock = self._lock, None
        if held is not None:
            os.close(held)

    async def _locked(self) -> int:
        """The directory's lock; a proxy that was just killed may hold it for another moment."""
        deadline = self._clock.seconds() + _LOCK_S
        while True:
            try:
                return lock(self._data_dir)
            except InUse:
                if self._clock.seconds() > deadline:
                    raise
            await self._pause(0.1)

    def _prepared(self) -> Cluster:
        """All that blocks before the server starts; runs in a thread."""
        user = database_user(self._user_name)
        cluster = Cluster(self._data_dir, find_binaries(user, self._data_dir), user)
        cluster.prepare()
        return cluster

    async def _old_server_gone(self, cluster: Cluster) -> None:
        deadline = self._clock.seconds() + _STOP_S
        while cluster.old_process_runs():
            if self._clock.seconds() > deadline:
                raise ConfigurationError(f"An old PostgreSQL does not let go of {cluster.directory}: stop it.")
            await self._pause(0.1)
        cluster.remove_stale_pid_files()

    async def _ready(self, cluster: Cluster, process: subprocess.Popen[bytes]) -> None:
        deadline = self._clock.seconds() + _START_S
        while not cluster.is_ready(process):
            if process.poll() is not None or self._clock.seconds() > deadline:
                raise ConfigurationError(
                    f"The embedded PostgreSQL did not start ({cluster.last_words()}); see {cluster.log}."
                )
            await self._pause(_POLL_S)

    async def _stopped(self, process: subprocess.Popen[bytes]) -> None:
        deadline = self._clock.seconds() + _STOP_S
        _send(process, signal.SIGINT)
        while process.poll() is None:
            if self._clock.seconds() > deadline:
                _send(process, signal.SIGQUIT)
                deadline += _STOP_S
            await self._pause(_POLL_S)

    def _look(self) -> None:
        """Start the server again if it has ended."""
        if self._process is None or self._process.poll() is None or self._cluster is None:
            return
        self._log.error(
            "the embedded PostgreSQL ended with status {status}: {words}; starting it again",
            status=self._process.returncode,
            words=self._cluster.last_words(),
        )
        self._process = self._cluster.launch()

    def _pause(self, seconds: float) -> Deferred[None]:
        return deferLater(self._clock, seconds, lambda: None)


def _send(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal the server; as root too, for root may signal anyone."""
    if process.poll() is None:
        process.send_signal(number)
