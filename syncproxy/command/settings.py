"""What the operator sets, as one value, and how each text that sets it is read."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from attrs import frozen
from twisted.logger import LogLevel

LOG_FORMATS = ("text", "json")
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_SIZE = re.compile(r"(\d+)\s*([kmg]?)(?:i?b)?", re.IGNORECASE)


@frozen
class Settings:
    """One field an option, named after it; sizes in bytes, durations in seconds.

    `database` is a libpq connection string, `None`: the embedded PostgreSQL. `secret` is set if the environment gives
    the secret itself. `public_homeserver` is `None` if there is no URL to tell.
    """

    homeserver: str
    listen: tuple[str, ...]
    database: str | None
    database_user: str | None
    database_connections: int
    data_dir: Path
    secret_file: Path | None
    secret: bytes | None
    metrics: str | None
    log_level: str
    log_format: str
    cache_size: int
    public_homeserver: str | None
    max_request_size: int
    max_sync_size: int
    trust_forwarded_for: bool
    forward: bool
    connection_ttl: float
    poller_idle: float
    transaction_id_wait: float
    first_sync_timeline_limit: int


def homeserver(text: str) -> str:
    """`http://`, `https://` or `unix:/path`, without a slash at its end."""
    if text.startswith("unix:/"):
        return text
    url = _split(text)
    if url.query or url.fragment or url.username is not None:
        raise ValueError("takes a URL without ?, # and user names")
    return text.rstrip("/")


def public_homeserver(text: str) -> str:
    """A URL that clients can reach."""
    _split(text)
    return text


def database(text: str) -> str:
    """A libpq connection string or URL; libpq itself judges it when it connects."""
    if not (text.startswith(("postgres://", "postgresql://")) or "=" in text):
        raise ValueError("takes a libpq connection string, such as 'host=/run/postgresql dbname=syncproxy', or a URL")
    return text


def log_level(text: str) -> str:
    """The name of a level of `twisted.logger`."""
    names = [level.name for level in LogLevel.iterconstants()]
    if text.lower() not in names:
        raise ValueError(f"takes one of {', '.join(names)}")
    return text.lower()


def log_format(text: str) -> str:
    """`text` or `json`."""
    if text not in LOG_FORMATS:
        raise ValueError(f"takes one of {', '.join(LOG_FORMATS)}")
    return text


def size(text: str) -> int:
    """Bytes, or with a unit: `64MiB`, `1G`."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or not int(match[1]):
        raise ValueError("takes a size, such as 1048576 or 256MiB")
    return int(match[1]) * _UNITS[match[2].lower()]


def seconds(text: str) -> float:
    """A duration in seconds, over 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ValueError("takes a number of seconds over 0")
    return number


def milliseconds(text: str) -> float:
    """A whole number of milliseconds, in seconds; 0: off."""
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise ValueError("takes a whole number of milliseconds, 0 for none")
    return int(text) / 1000


def count(text: str) -> int:
    """A whole number from 1."""
    if not text.isascii() or not text.isdigit() or not int(text):
        raise ValueError("takes a whole number from 1")
    return int(text)


def truth(text: str) -> bool:
    """A flag in the environment."""
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off", ""):
        return False
    raise ValueError("takes true or false")


def _split(text: str):  # type: ignore[no-untyped-def]  # urlsplit's result class is private to urllib
    try:
        url = urlsplit(text)
        url.port  # noqa: B018  # reading it is what checks it
    except ValueError:
        raise ValueError("takes a URL whose host and port are valid") from None
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("takes a URL that starts with http:// or https://, such as https://matrix.example.org")
    return url
