"""Which requests go on to the homeserver, judged by method and target alone. Pure.

A target goes on as it came, byte for byte. So whatever another reader of it could take for a path outside of the
prefixes is refused: dot segments however they are written, and what is no path at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum, auto
from urllib.parse import unquote_to_bytes

#: what clients ask a homeserver for; federation, keys and administration are elsewhere
PREFIXES = (b"/_matrix/client/", b"/_matrix/media/", b"/_synapse/client/")
#: what may be sent at all: no spaces, no control characters, nothing beyond ASCII; a fragment is for clients only
_SENDABLE = re.compile(rb"/[\x21-\x22\x24-\x7e]*")
_HALF_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_SEPARATOR = re.compile(rb"[/\\]")
#: how often a path may be escaped; nothing that is meant well needs more than two
_MOST_ROUNDS = 3


class Route(Enum):
    """What becomes of a request."""

    #: it is answered here, if at all
    HERE = auto()
    FORWARDED = auto()
    #: it may mean something else to others than it seems to
    REFUSED = auto()


def route(method: bytes, target: bytes, own: Mapping[bytes, frozenset[bytes] | None]) -> Route:
    """Where a request goes. `own` are the paths that are answered here with these methods, `None`: with all."""
    if target == b"*":
        return Route.HERE
    if not is_plain(target):
        return Route.REFUSED
    path = target.partition(b"?")[0]
    if path in own:
        methods = own[path]
        if methods is None or method in methods:
            return Route.HERE
    return Route.FORWARDED if path.startswith(PREFIXES) else Route.HERE


def is_plain(target: bytes) -> bool:
    """Whether every reader takes the target's path for the same one. The query may be anything that can be sent.

    An escaped slash in a segment is no harm: identifiers of events have some (room version 3).
    """
    if not _SENDABLE.fullmatch(target):
        return False
    path = target.partition(b"?")[0]
    if b"\\" in path or _HALF_ESCAPE.search(path):
        return False
    for _ in range(_MOST_ROUNDS):
        if not _is_harmless(path):
            return False
        before, path = path, unquote_to_bytes(path)
        if path == before:
            return True
    return False


def _is_harmless(path: bytes) -> bool:
    if _CONTROL.search(path) or not _is_text(path):
        return False
    # some servers cut off what follows a semicolon in a segment
    return all(segment.partition(b";")[0] not in (b".", b"..") for segment in _SEPARATOR.split(path))


def _is_text(path: bytes) -> bool:
    """Whether it is UTF-8: dots have longer spellings that are none."""
    try:
        path.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
