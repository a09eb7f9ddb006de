"""What the decoding process hands back: the sections of an answer in frames, none of them long.

A skeleton of each part (the answer, a room) comes without its long lists of events; these follow in batches.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

#: bytes of events in a frame, about
BATCH = 256 * 1024
_LENGTHS = struct.Struct(">IQ")


class Head(msgspec.Struct, array_like=True, frozen=True):
    """What a frame has: `response`, `room` and `events` come with bytes, `dropped` with a name, `unsound` with why.

    `block` is a member of `rooms`, empty for the answer itself; `section` is what of it the events or the name are.
    """

    kind: Literal["response", "room", "events", "dropped", "unsound", "end"]
    block: str = ""
    room_id: str = ""
    section: str = ""


_head = msgspec.json.Decoder(Head)


def frame(head: Head, payload: bytes = b"") -> bytes:
    """A frame as bytes."""
    named = msgspec.json.encode(head)
    return _LENGTHS.pack(len(named), len(payload)) + named + payload


def event_frames(head: Head, events: Iterable[msgspec.Raw]) -> Iterator[bytes]:
    """The frames of a list of events."""
    batch: list[bytes] = []
    size = 0
    for event in events:
        batch.append(bytes(event))
        size += len(batch[-1])
        if size >= BATCH:
            yield frame(head, b"[%s]" % b",".join(batch))
            batch.clear()
            size = 0
    if batch:
        yield frame(head, b"[%s]" % b",".join(batch))


class FrameReader:
    """Puts frames together from the bytes that come."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def received(self, data: bytes) -> Iterator[tuple[Head, bytes]]:
        """The frames that these bytes complete. Raises msgspec.DecodeError if they are none."""
        self._buffer += data
        while len(self._buffer) >= _LENGTHS.size:
            of_head, of_payload = _LENGTHS.unpack_from(self._buffer)
            begin = _LENGTHS.size + of_head
            if len(self._buffer) < begin + of_payload:
                return
            head = _head.decode(bytes(self._buffer[_LENGTHS.size : begin]))
            payload = bytes(self._buffer[begin : begin + of_payload])
            del self._buffer[: begin + of_payload]
            yield head, payload
