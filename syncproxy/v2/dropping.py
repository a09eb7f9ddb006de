"""What must be left out of an answer is logged once with its ids, and counted each time."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from twisted.logger import Logger

from syncproxy.v2.recently_used import RecentlyUsed

#: what was logged and is remembered
_LOGGED = 2000
#: characters of an id in a log: those of Matrix have 255 bytes at the most
_LONGEST_ID = 255
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)
_NOTHING = msgspec.Raw(b"null")


class Dropped:
    """Told of what is dropped; `count` is told its kind. A room id is empty for what is of no room."""

    _log = Logger(namespace="syncproxy")

    def __init__(self, count: Callable[[str], None]) -> None:
        self._count = count
        self._logged: RecentlyUsed[tuple[str, ...], bool] = RecentlyUsed(_LOGGED)

    def section(self, section: str, room_id: str = "") -> None:
        """A section had the wrong shape."""
        self._count("malformed_section")
        self._tell(section, room_id, "", "wrong shape")

    def part(self, what: str, room_id: str, raw: msgspec.Raw, problem: str) -> None:
        """A part of a section was malformed: `what` says of what kind it was."""
        self._count("malformed_section")
        self._tell(what, room_id, _type_of(raw), problem)

    def event(self, room_id: str, raw: msgspec.Raw, problem: str) -> None:
        """An event was malformed."""
        self._count("malformed_event")
        self._tell("event", room_id, event_id_of(raw), problem)

    def _tell(self, what: str, room_id: str, name: str, problem: str) -> None:
        key = what, room_id[:_LONGEST_ID], name
        if self._logged.get(key) is None:
            self._logged[key] = True
            self._log.warn(
                "Dropped: {what} {id!r} of {room_id!r}: {problem}", what=what, id=name, room_id=key[1], problem=problem
            )


def event_id_of(raw: msgspec.Raw) -> str:
    """The id of an event that is malformed, as far as it has one."""
    return _named(raw, "event_id")


def _type_of(raw: msgspec.Raw) -> str:
    return _named(raw, "type")


def _named(raw: msgspec.Raw, member: str) -> str:
    try:
        return _text.decode(_members.decode(raw).get(member, _NOTHING))[:_LONGEST_ID]
    except (msgspec.DecodeError, RecursionError):
        return ""
