"""The connection for COPY, which txpostgres cannot do: a plain one, used in a thread."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import psycopg2
from twisted.internet.threads import deferToThread

from syncproxy.storage.copying import Copied
from syncproxy.storage.problems import DatabaseGone, in_one_line, is_farewell

#: bytes that are handed to the driver at a time
_CHUNK = 1 << 18
#: how long the reactor's thread may keep the interpreter when the one that copies wants it, in seconds: it does so some
#: ten times a script, for moments
_SWITCH_S = 0.0005


class CopySession:
    """One connection, made when it is first used and made anew when it died. One script at a time.

    `set_up` is what it runs first.
    """

    def __init__(self, conninfo: str, connect_s: int, set_up: str) -> None:
        self._conninfo = conninfo
        self._connect_s = connect_s
        self._set_up = set_up
        self._connection: Any = None

    async def run(self, script: Sequence[bytes | Copied]) -> None:
        """Run statements and COPYs, in order; a transaction that was begun stays open.

        Raises DatabaseGone if the connection broke or cannot be made, psycopg2.Error for what failed.
        """
        # of the whole process; it costs nothing while no thread waits
        sys.setswitchinterval(min(_SWITCH_S, sys.getswitchinterval()))
        await deferToThread(self._run, script)

    def close(self) -> None:
        """Close the connection, if there is one; not while a script runs."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _run(self, script: Sequence[bytes | Copied]) -> None:
        connection = self._connected()
        try:
            with connection.cursor() as cursor:
                for step in script:
                    if isinstance(step, Copied):
                        cursor.copy_expert(step.sql, BytesIO(step.data), _CHUNK)
                    else:
                        cursor.execute(step)
        except psycopg2.Error as problem:
            if not connection.closed and not is_farewell(problem):
                raise
            self.close()
            raise DatabaseGone(in_one_line(problem)) from None

    def _connected(self) -> Any:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        connection: Any = None
        try:
            connection = psycopg2.connect(self._conninfo, connect_timeout=self._connect_s)
            # transactions begin and end as the script says
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(self._set_up)
        except psycopg2.OperationalError as problem:
            if connection is not None:
                connection.close()
            raise DatabaseGone(in_one_line(problem)) from None
        self._connection = connection
        return connection
