"""The command line: its options, their names in the environment, and one line for whatever is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.python import usage

from syncproxy.command import go_names, settings
from syncproxy.command.settings import Settings

#: the option that may be given more than once
_REPEATED = "listen"


@frozen
class Option:
    """An option that takes a value: `default` is a text like any other, `None`: there is none."""

    name: str
    read: Callable[[str], Any]
    default: str | None
    help: str


OPTIONS = (
    Option("homeserver", settings.homeserver, None, "The homeserver: http://, https:// or unix:/path. Required."),
    Option("listen", str, "tcp:8009:interface=127.0.0.1", "Where clients come in: a Twisted endpoint; repeatable."),
    Option("database", settings.database, None, "PostgreSQL 13 or newer, as libpq names it; without: an embedded one."),
    Option("data-dir", Path, "./syncproxy-data", "Where the embedded database and the secret are."),
    Option("secret-file", Path, None, "A file whose contents encrypt access tokens; without: made in the data dir."),
    Option("metrics", str, None, "Where Prometheus comes in: a Twisted endpoint; without: nowhere."),
    Option("log-level", settings.log_level, "info", "debug, info, warn, error or critical."),
    Option("log-format", settings.log_format, "text", "text, or json for machines."),
    Option("cache-size", settings.size, "256MiB", "Memory for events and state of busy rooms."),
    Option("public-homeserver", settings.public_homeserver, None, "What clients are told; without: --homeserver."),
    Option("database-user", str, None, "As root: the user that runs the embedded PostgreSQL."),
    Option("database-connections", settings.count, "10", "Connections that read."),
    Option("max-request-size", settings.size, "1MiB", "The longest request body."),
    Option("max-sync-size", settings.size, "1GiB", "The longest answer that is taken from the homeserver."),
    Option("connection-ttl", settings.seconds, "1800", "Seconds without a request until a connection expires."),
    Option("poller-idle", settings.seconds, "2592000", "Seconds until a silent device is no longer polled for."),
    Option("transaction-id-wait", settings.milliseconds, "300", "Milliseconds that an own event waits for its id."),
    Option("first-sync-timeline-limit", settings.count, "1", "Events of each room in a device's first /sync."),
)
#: options without a value
FLAGS = {
    "trust-forwarded-for": "Believe the last X-Forwarded-For entry, which a reverse proxy in front wrote.",
    "forward": "Pass on to the homeserver what clients ask of it, so that this is its address for them.",
}


class Options(usage.Options):
    """What `twistd syncproxy` takes. `settings` has it all once `parseOptions` is done.

    The command line goes over `SYNCPROXY_<NAME>` in the environment, that over the Go proxy's `SYNCV3_*`. Whatever is
    wrong ends the program: one line on stderr, exit status 1.
    """

    synopsis = "twistd [twistd's options] syncproxy --homeserver URL [options]"
    optFlags = tuple((name, None, text) for name, text in FLAGS.items())
    optParameters = tuple(
        (option.name, None, None, option.help + (f" [default: {option.default}]" if option.default else ""))
        for option in OPTIONS
        if option.name != _REPEATED
    )
    settings: Settings

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self["listen"] = []
        self._environment = os.environ if environment is None else environment

    def opt_listen(self, endpoint: str) -> None:
        """Where clients come in: a Twisted endpoint; repeatable. [default: tcp:8009:interface=127.0.0.1]"""
        self["listen"].append(endpoint)

    def opt_version(self) -> None:
        """Say which version this is."""
        from importlib.metadata import version

        print(f"syncproxy {version('syncproxy')}")
        raise SystemExit(0)

    def parseArgs(self, *words: str) -> None:
        """Take options only."""
        if words:
            raise usage.UsageError(f"{words[0]!r} is not an option: see --help")

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse, or end the program with one line."""
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            raise SystemExit(f"syncproxy: {error}") from None

    def postOptions(self) -> None:
        """Put command line, environment and defaults together."""
        try:
            inherited = go_names.options_of(self._environment)
        except ValueError as error:
            raise usage.UsageError(f"{error}.") from None
        values = {
            option.name.replace("-", "_"): value_of(option, self[option.name], self._environment, inherited)
            for option in OPTIONS
        }
        for name in FLAGS:
            values[name.replace("-", "_")] = bool(self[name]) or _read(
                settings.truth, _variable(name), self._environment.get(_variable(name), "")
            )
        values["secret"] = self._secret(values["secret_file"])
        _refuse_contradictions(values)
        if values["public_homeserver"] is None and values["homeserver"].startswith("http"):
            values["public_homeserver"] = values["homeserver"]
        self.settings = Settings(**values)

    def _secret(self, secret_file: Path | None) -> bytes | None:
        """The Go proxy's variable holds the secret itself; a file that is named goes over it."""
        text = self._environment.get("SYNCV3_SECRET", "")
        return text.encode() if text and secret_file is None else None


def value_of(option: Option, given: Any, environment: Mapping[str, str], inherited: Mapping[str, str]) -> Any:
    """An option's value: `given` on the command line, else from the environment, Go's names (`inherited`), default.

    Raises UsageError, saying which of them is wrong.
    """
    repeated = option.name == _REPEATED
    variable = _variable(option.name)
    if given:
        texts, source = (given if repeated else [given]), f"--{option.name}"
    elif given is not None and not repeated:
        raise usage.UsageError(f"--{option.name} is empty: give it a value or leave it out.")
    elif text := environment.get(variable):
        texts, source = (text.split() if repeated else [text]), variable
    elif option.name in inherited:
        texts, source = [inherited[option.name]], f"--{option.name} (from SYNCV3_*)"
    elif option.default is not None:
        texts, source = [option.default], f"--{option.name}"
    else:
        return None
    values = tuple(_read(option.read, source, text) for text in texts)
    return values if repeated else values[0]


def _read(read: Callable[[str], Any], source: str, text: str) -> Any:
    try:
        return read(text)
    except ValueError as error:
        # what may hold a password is not repeated
        shown = "" if "@" in text or "password" in text else f", not {text!r}"
        raise usage.UsageError(f"{source} {error}{shown}.") from None


def _refuse_contradictions(values: Mapping[str, Any]) -> None:
    if values["homeserver"] is None:
        raise usage.UsageError("--homeserver is missing: name yours, such as --homeserver https://matrix.example.org.")
    if values["database"] is not None and values["database_user"] is not None:
        raise usage.UsageError("--database-user is for the embedded PostgreSQL: leave it or --database out.")
    if values["metrics"] is not None and values["metrics"] in values["listen"]:
        raise usage.UsageError("--metrics and --listen name the same place: give --metrics one of its own.")


def _variable(name: str) -> str:
    return f"SYNCPROXY_{name.upper().replace('-', '_')}"
