"""What a dialect of sliding sync is: how requests and answers are spelled, and what it means differently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

import attrs

from syncproxy.protocol.request import Request
from syncproxy.protocol.response import Answer


@attrs.frozen
class ListRules:
    """Which rooms lists hold, and what filters make of them."""

    #: `removed` are rooms that the user was thrown out of
    memberships: frozenset[str] = frozenset({"join", "invite"})
    #: rooms with a tombstone are left out while the user is joined to the replacement
    hides_replaced: bool = True
    #: a tombstoned child of a space stands for its latest successor
    spaces_follow_tombstones: bool = True
    #: `is_direct` of an invite makes it a direct room
    invites_may_be_direct: bool = True
    #: what the stripped state of an invite does not say is as if it were not; else no filter on it matches
    unstated_is_false: bool = True
    #: by the newest event that the user may see, whatever the request says
    sorted_by_activity: bool = False


#: those of MSC3575
LIST_RULES = ListRules()


@attrs.frozen
class ExtensionRules:
    """What extensions say in which answers (spec/extensions.md)."""

    #: key counts and unused fallback types are in every answer; else once, and when they changed
    repeats_key_facts: bool = False
    #: unacknowledged changes of device lists are in the first answer; else in the second, for clients refresh all lists
    #: on the first
    lists_devices_at_first: bool = True
    #: where no `since` is named, to-device messages go on behind the last answer that the client has
    resumes_messages: bool = False
    #: all of a room's account data comes whenever the room is `initial`; else the first time that it is sent
    repeats_room_data: bool = True
    #: who types comes with every room that comes into scope; else with initial rooms
    types_on_entry: bool = False


#: those of MSC3575
EXTENSION_RULES = ExtensionRules()


@attrs.frozen
class Semantics:
    """Where dialects differ in what they mean, as data."""

    #: absent members keep their value; else they have their default
    sticky: bool
    #: clients send 0 for a limit they do not set
    zero_is_absent: bool
    #: a room that comes back into a window, or is subscribed to, is sent as `initial`; else only what the client missed
    forgets_hidden_rooms: bool
    #: live timelines have at most this many events; `None`: `timeline_limit`
    most_live_events: int | None
    #: room subscriptions stay on connections without a `conn_id`, though nothing else is sticky
    keeps_subscriptions_without_conn_id: bool = False
    #: what brings a client's lists up to date: moves of what it has, or what is in each range now
    ops: Literal["moves", "slices"] = "moves"
    lists: ListRules = LIST_RULES
    extensions: ExtensionRules = EXTENSION_RULES
    #: what a client was sent is kept when the proxy restarts, and a lost answer is made afresh
    survives_restarts: bool = False
    #: what a room's object is made of
    rooms: Literal["msc3575", "msc4186"] = "msc3575"
    #: state that is gone is told
    tells_ended_state: bool = False


class Dialect(Protocol):
    """One spelling of sliding sync."""

    @property
    def semantics(self) -> Semantics:
        """What this dialect means differently."""

    def parse(self, body: bytes, query: Mapping[str, str]) -> Request:
        """The request. Raises `NotJson`, `BadJson` or `InvalidParam`, naming the field."""

    def encode(self, answer: Answer) -> bytes:
        """The answer's JSON."""
