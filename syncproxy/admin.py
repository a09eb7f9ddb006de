"""`syncproxy-admin`: a look at a syncproxy's database, and what is done to it while the syncproxy is stopped."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import react
from twisted.python import usage

from syncproxy import __version__
from syncproxy.command import go_names
from syncproxy.command.options import OPTIONS, value_of
from syncproxy.command.tables import ago, as_table, size
from syncproxy.errors import ConfigurationError
from syncproxy.storage.administration import Administration, DatabaseStatus, DeviceStatus, TableStatus
from syncproxy.storage.database import Session
from syncproxy.storage.embedded_visit import visited

#: devices that `status` lists
_LISTED = 20
_WHERE = tuple(option for option in OPTIONS if option.name in ("database", "data-dir", "database-user"))


class _Where(usage.Options):
    """Which database: the same options, before the command and behind it."""

    optParameters = tuple((option.name, None, None, option.help) for option in _WHERE)
    longdesc = "The variables of the environment that name syncproxy's database name it here, too."

    def parseArgs(self, *words: str) -> None:
        """Take options only."""
        if words:
            raise usage.UsageError(f"{words[0]!r} is not an option: see --help")

    def opt_version(self) -> None:
        """Say which version this is."""
        print(f"syncproxy {__version__}")
        raise SystemExit(0)


class _StatusOptions(_Where):
    """What `status` takes."""

    optFlags = (("all", None, f"List all devices, not only the {_LISTED} seen last."),)


class AdminOptions(_Where):
    """The command line of `syncproxy-admin`. `where` has the database's options once `parseOptions` is done."""

    synopsis = "Usage: syncproxy-admin [options]"
    subCommands = (
        ("status", None, _StatusOptions, "Say who is polled for, how far, and how large the database is."),
        ("forget-tokens", None, _Where, "After the secret was lost: drop all tokens, clients are identified again."),
        ("new-epoch", None, _Where, "After a backup was restored: connections of before are known to be of before."),
    )

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__()
        self._environment = environment
        self.where: dict[str, Any] = {}

    def postOptions(self) -> None:
        """Put command line, environment and defaults together."""
        if self.subCommand is None:
            raise usage.UsageError("Say what to do: status, forget-tokens or new-epoch.")
        # the Go proxy's other variables are none of our business
        inherited = go_names.options_of({"SYNCV3_DB": self._environment.get("SYNCV3_DB", "")})
        for option in _WHERE:
            given = self.subOptions[option.name]
            given = self[option.name] if given is None else given
            self.where[option.name] = value_of(option, given, self._environment, inherited)


def main() -> None:
    """Run the command of `sys.argv`; what is wrong ends it with one line and exit status 1."""
    options = AdminOptions(os.environ)
    try:
        options.parseOptions(sys.argv[1:])
    except usage.UsageError as error:
        raise SystemExit(f"syncproxy-admin: {error}") from None
    react(_run, (options,))


async def _run(clock: IReactorTime, options: AdminOptions) -> None:
    try:
        lines = await _lines(clock, options)
    except ConfigurationError as error:
        raise SystemExit(f"syncproxy-admin: {' '.join(str(error).split())}") from None
    print("\n".join(lines))


async def _lines(clock: IReactorTime, options: AdminOptions) -> Sequence[str]:
    """Do what the command says; what there is to say then."""
    where = options.where
    async with AsyncExitStack() as stack:
        conninfo = where["database"] or await visited(where["data-dir"], clock, stack, user_name=where["database-user"])
        session = Session(conninfo, clock)
        stack.callback(session.close)
        administration = Administration(session)
        await administration.check()
        now_ms = int(clock.seconds() * 1000)
        if options.subCommand == "forget-tokens":
            tokens = await administration.forget_tokens(now_ms)
            return [f"{tokens} tokens are forgotten. Start syncproxy with a new secret; clients are identified again."]
        if options.subCommand == "new-epoch":
            epoch = await administration.new_epoch()
            return [f"The epoch is {epoch} now. Start syncproxy; clients start their connections over."]
        listed = None if options.subOptions["all"] else _LISTED
        return [
            *_database_lines(await administration.database()),
            "",
            *_device_lines(await administration.devices(), listed, now_ms),
            "",
            *_table_lines(await administration.tables()),
        ]


def _database_lines(status: DatabaseStatus) -> list[str]:
    proxy = "runs" if status.is_in_use else "is stopped"
    return as_table(
        [
            ("syncproxy", proxy),
            ("database", f"PostgreSQL {status.server_version}, {status.connections} other connections"),
            ("schema", f"version {status.schema_version}"),
            ("epoch", status.epoch),
            ("generation", status.generation),
            ("position", status.position),
        ]
    )


def _device_lines(devices: Sequence[DeviceStatus], listed: int | None, now_ms: int) -> list[str]:
    shown = devices[:listed]
    more = [f"and {len(devices) - len(shown)} more: see --all"] if len(devices) > len(shown) else []
    head = ("user", "device", "since", "tokens", "seen", "lag", "to-device")
    rows = [
        (
            *one.device,
            "yes" if one.has_since else "no",
            one.tokens,
            ago(one.last_seen_ms, now_ms),
            one.lag,
            one.to_device,
        )
        for one in shown
    ]
    polled = sum(one.has_since for one in devices)
    return [f"{len(devices)} devices, {polled} of them with a since", *as_table([head, *rows]), *more]


def _table_lines(tables: Sequence[TableStatus]) -> list[str]:
    return as_table([("table", "rows", "size"), *((one.name, one.rows, size(one.bytes)) for one in tables)])


if __name__ == "__main__":
    main()
