"""The process that decodes what is too long, or too unsound, for the reactor: a body on stdin, its frames on stdout.

`python -m syncproxy.homeserver.decoding_child sync|members|state`
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping

import msgspec

from syncproxy.homeserver.event_lists import parse_members, parse_state
from syncproxy.homeserver.frames import BATCH, Head, event_frames, frame
from syncproxy.homeserver.sync_response import EventList, RoomsBlock, SyncResponse, parse_sync

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_events = msgspec.json.Decoder(list[msgspec.Raw])


def frames_of(task: str, body: bytes) -> Iterator[bytes]:
    """The frames of a body; the last one says that these are all, or why there are none."""
    try:
        yield from _TASKS[task](body)
    except msgspec.DecodeError as problem:
        yield frame(Head("unsound"), str(problem).encode())
    else:
        yield frame(Head("end"))


def _sync(body: bytes) -> Iterator[bytes]:
    dropped: list[str] = []
    response = parse_sync(body, dropped.append)
    for section in dropped:
        yield frame(Head("dropped", section=section))
    yield from _response(response)
    rooms = response.rooms or RoomsBlock()
    for block in ("join", "invite", "knock", "leave"):
        for room_id, raw in (getattr(rooms, block) or {}).items():
            yield from _room(Head("room", block, room_id), raw)


def _response(response: SyncResponse) -> Iterator[bytes]:
    lists: Mapping[str, EventList | None] = {
        "account_data": response.account_data,
        "to_device": response.to_device,
    }
    empty = {name: None if events is None else EventList() for name, events in lists.items()}
    skeleton = msgspec.structs.replace(response, rooms=None, **empty)
    yield frame(Head("response"), msgspec.json.encode(skeleton))
    for section, events in lists.items():
        yield from event_frames(Head("events", section=section), events or ())


def _room(head: Head, raw: msgspec.Raw) -> Iterator[bytes]:
    """A room that is long comes without its long sections' events; these follow."""
    if _size(raw) <= BATCH:
        yield frame(head, bytes(raw))
        return
    try:
        sections = _members.decode(raw)
    except msgspec.DecodeError:
        # whoever takes it drops it
        yield frame(head, b"null")
        return
    lifted = {name: _lifted(section) for name, section in sections.items() if _size(section) > BATCH}
    sections |= {name: skeleton for name, (skeleton, _) in lifted.items()}
    yield frame(head, msgspec.json.encode(sections))
    for name, (_, events) in lifted.items():
        yield from event_frames(Head("events", head.block, head.room_id, name), events)


def _lifted(section: msgspec.Raw) -> tuple[msgspec.Raw, list[msgspec.Raw]]:
    """A section without its events, and these; as it is where that cannot be."""
    try:
        members = _members.decode(section)
        events = _events.decode(members["events"])
    except (msgspec.DecodeError, KeyError):
        return section, []
    members["events"] = msgspec.Raw(b"[]")
    return msgspec.Raw(msgspec.json.encode(members)), events


def _size(raw: msgspec.Raw) -> int:
    return memoryview(raw).nbytes


def _list_of(parse: Callable[[bytes], list[msgspec.Raw]]) -> Callable[[bytes], Iterator[bytes]]:
    return lambda body: event_frames(Head("events"), parse(body))


_TASKS: Mapping[str, Callable[[bytes], Iterator[bytes]]] = {
    "sync": _sync,
    "members": _list_of(parse_members),
    "state": _list_of(parse_state),
}

if __name__ == "__main__":
    for each in frames_of(sys.argv[1], sys.stdin.buffer.read()):
        sys.stdout.buffer.write(each)
    sys.stdout.flush()
