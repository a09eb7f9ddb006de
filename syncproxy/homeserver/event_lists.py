"""Answers that are lists of events: `/members` and `/state`. Events stay `Raw`."""

from __future__ import annotations

import msgspec

from syncproxy.homeserver.repairs import soundly, with_room


class _Members(msgspec.Struct):
    chunk: list[msgspec.Raw]


_members = msgspec.json.Decoder(_Members)
_state = msgspec.json.Decoder(list[msgspec.Raw])


def parse_members(body: bytes) -> list[msgspec.Raw]:
    """The events of `{"chunk": […]}`, repaired where they must be. Raises msgspec.DecodeError for anything else."""
    return soundly(body, parse_sound_members)


def parse_state(body: bytes) -> list[msgspec.Raw]:
    """The events of a list, repaired where they must be. Raises msgspec.DecodeError for anything else."""
    return soundly(body, parse_sound_state)


def parse_sound_members(body: bytes) -> list[msgspec.Raw]:
    """The events of a body that needs no repair. Raises one of `repairs.UNSOUND`."""
    return with_room(lambda: _members.decode(body)).chunk


def parse_sound_state(body: bytes) -> list[msgspec.Raw]:
    """The events of a body that needs no repair. Raises one of `repairs.UNSOUND`."""
    return with_room(lambda: _state.decode(body))
