"""Putting together what the decoding process hands back."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
import msgspec

from syncproxy.homeserver.frames import Head
from syncproxy.homeserver.sync_response import EventList, RoomsBlock, SyncResponse

#: events by the block of `rooms` and the room they are of, and the section of that room
Lifted = Mapping[tuple[str, str], Mapping[str, list[msgspec.Raw]]]
_events = msgspec.json.Decoder(list[msgspec.Raw])
_response = msgspec.json.Decoder(SyncResponse)


@attrs.frozen
class Decoded:
    """An answer; the events of long sections of its rooms are in `lifted`, their sections have none."""

    response: SyncResponse
    lifted: Lifted = attrs.Factory(dict)


class Assembly:
    """Takes the frames of one answer; `dropped` is told of each section of the wrong shape."""

    def __init__(self, dropped: Callable[[str], None] = lambda section: None) -> None:
        self._dropped = dropped
        self._response = SyncResponse()
        self._rooms = RoomsBlock({}, {}, {}, {})
        self._lifted: dict[tuple[str, str], dict[str, list[msgspec.Raw]]] = {}
        #: whether these are all
        self.is_complete = False

    def received(self, head: Head, payload: bytes) -> None:
        """Take a frame. Raises msgspec.DecodeError if it says that the answer cannot be decoded."""
        if head.kind == "unsound":
            raise msgspec.DecodeError(payload.decode())
        if head.kind == "response":
            self._response = _response.decode(payload)
        elif head.kind == "room":
            getattr(self._rooms, head.block)[head.room_id] = msgspec.Raw(payload)
        elif head.kind == "events":
            sections = self._lifted.setdefault((head.block, head.room_id), {})
            sections.setdefault(head.section, []).extend(_events.decode(payload))
        elif head.kind == "dropped":
            self._dropped(head.section)
        else:
            self.is_complete = True

    def answer(self) -> Decoded:
        """The answer of `/sync`."""
        own = self._lifted.pop(("", ""), {})
        self._response.rooms = self._rooms
        self._response.account_data = EventList(own.get("account_data"))
        self._response.to_device = EventList(own.get("to_device"))
        return Decoded(self._response, self._lifted)

    def events(self) -> list[msgspec.Raw]:
        """The events of an answer that is a list of them."""
        return self._lifted.get(("", ""), {}).get("", [])
