"""How log events become lines: as text or as JSON, never with an access token in them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO, Any, cast

from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    eventAsText,
    formatEventAsClassicLogText,
)
from twisted.python.logfile import LogFile

#: nobody logs these; a library's error message may repeat a header or a URL
_SECRETS = re.compile(r"(access_token=|Bearer\s+|\bsy[a-z]_)[^\s&\"',;)>\]}]+")
_SCALARS = (str, int, float, bool, type(None))


def twistd_observer(twistd: Mapping[str, Any], level: str, format: str) -> ILogObserver | None:
    """The observer that twistd is to use, writing where its own would; `None` if it was told to use another."""
    if twistd.get("syslog") or twistd.get("logger"):
        return None
    return observer(_output(twistd), level, format)


def observer(output: IO[str], level: str, format: str) -> ILogObserver:
    """An observer that writes a line an event of that level or above; a text event's traceback takes more."""
    to_line = json_line if format == "json" else text_line
    predicate = LogLevelFilterPredicate(defaultLogLevel=LogLevel.levelWithName(level))
    if level == "info":
        # it tells of each connection to the homeserver
        predicate.setLogLevelForNamespace("twisted.web", LogLevel.warn)
    return FilteringLogObserver(FileLogObserver(output, to_line), [predicate])


def text_line(event: LogEvent) -> str | None:
    """The classic line of Twisted, secrets blotted out."""
    line = formatEventAsClassicLogText(event)
    return None if line is None else blotted(line)


def json_line(event: LogEvent) -> str | None:
    """One JSON object: `time`, `level`, `logger`, `message`, `traceback` of a failure, and fields that are scalars."""
    message = eventAsText(event, includeTraceback=False, includeTimestamp=False, includeSystem=False)
    if not message and "log_failure" not in event:
        return None
    level = event.get("log_level")
    line: dict[str, Any] = {
        "time": datetime.fromtimestamp(event["log_time"], UTC).isoformat(timespec="milliseconds"),
        "level": level.name if level is not None else "info",
        "logger": event.get("log_namespace", "-"),
        "message": message,
    }
    if "log_failure" in event:
        line["traceback"] = event["log_failure"].getTraceback()
    for name, value in event.items():
        if not name.startswith("log_") and name not in _LEGACY and name not in line and isinstance(value, _SCALARS):
            line[name] = value
    return blotted(json.dumps(line, ensure_ascii=False)) + "\n"


def blotted(line: str) -> str:
    """The line without what looks like an access token."""
    return _SECRETS.sub(lambda match: f"{match[1]}…", line)


#: fields that `twisted.python.log` adds to events for observers of old
_LEGACY = frozenset({"format", "isError", "message", "system", "time", "logLevel", "why", "failure"})


def _output(twistd: Mapping[str, Any]) -> IO[str]:
    """Where twistd itself would write."""
    name = twistd.get("logfile")
    if name == "-" or (not name and twistd.get("nodaemon")):
        return sys.stdout
    # it has what an observer needs of a file: write and flush
    return cast(IO[str], LogFile.fromFullPath(name or "twistd.log"))
