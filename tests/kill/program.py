"""The service with an observer that kills it, or cuts its database connections, at one point.

    python -m tests.kill.program HOME --homeserver ... --database ...

A test arms it by `arm(HOME, ...)`, at any time; `was_hit(HOME)` is the proof that the point was reached.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import psycopg2
from twisted.internet import reactor
from twisted.python import log

from syncproxy.storage.points import Point
from syncproxy.tap import Options, makeService

#: every connection of the service to this database but the one that has the advisory lock
_CUT = """SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'syncproxy'
        AND pid NOT IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted)"""


def arm(home: Path, point: Point, nth: int = 1, *, cut: bool = False) -> None:
    """When the point is reached for the nth time from now on the process dies, or with `cut` its connections do."""
    (home / "hit").unlink(missing_ok=True)
    _write(home / "armed", f"{point.name} {nth} {'cut' if cut else 'kill'}")


def was_hit(home: Path) -> str:
    """The point that was hit since it was armed, as the process wrote it down before it acted; empty: none."""
    try:
        return (home / "hit").read_text()
    except FileNotFoundError:
        return ""


class Watcher:
    """The observer."""

    def __init__(self, home: Path, database: str) -> None:
        self._home = home
        self._database = database
        self._hits = 0

    def reached(self, point: Point) -> None:
        """Act, if this is the point."""
        try:
            name, nth, how = (self._home / "armed").read_text().split()
        except FileNotFoundError:
            self._hits = 0
            return
        if name != point.name:
            return
        self._hits += 1
        if self._hits < int(nth):
            return
        (self._home / "armed").unlink()
        _write(self._home / "hit", name)
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        self._cut()

    def _cut(self) -> None:
        connection = psycopg2.connect(self._database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(_CUT)
                if not cursor.rowcount:
                    raise AssertionError("there was nothing to cut")
        finally:
            connection.close()


def _write(path: Path, text: str) -> None:
    """Write so that nobody ever reads half of it."""
    half = path.with_suffix(".half")
    half.write_text(text)
    half.rename(path)


def main(home: str, *arguments: str) -> None:
    """Run the service until SIGTERM."""
    log.startLogging(sys.stdout, setStdout=False)
    options = Options()
    options.parseOptions(arguments)
    watcher = Watcher(Path(home), options.settings.database or "")
    service = makeService(options, watcher.reached)
    service.failed = reactor.stop
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
