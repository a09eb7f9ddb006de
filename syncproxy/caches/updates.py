"""What a cache tells a connection: marks, never data. The connection pulls what is current when it answers."""

from __future__ import annotations

from enum import IntFlag
from typing import Protocol

#: int's own operators, for marks that are looked at often: IntFlag's make an object of each result
both = int.__and__
either = int.__or__


class Mark(IntFlag):
    """What changed in a room, for one user."""

    #: events were appended to the timeline
    TIMELINE = 1
    #: current state changed
    STATE = 2
    #: name, avatar, heroes or member counts changed
    SUMMARY = 4
    #: notification or highlight count changed
    COUNTS = 8
    #: the user's own membership, stay or stripped state changed
    MEMBERSHIP = 16
    #: somebody started or stopped typing
    TYPING = 32
    RECEIPTS = 64
    #: room account data changed, tags included
    ACCOUNT_DATA = 128
    #: bytes of an event sent before changed (a redaction)
    REWRITTEN = 256
    #: there are new sticky events
    STICKY = 512


class UserMark(IntFlag):
    """What changed for a user besides rooms."""

    ACCOUNT_DATA = 1
    #: of the connection's own device
    TO_DEVICE = 2
    DEVICE_LISTS = 4
    KEY_COUNTS = 8
    #: a sorted list in use changed its order or contents
    LISTS = 16


class Listener(Protocol):
    """A connection, as its user's cache knows it. Called in the reactor thread; must not raise or await."""

    device_id: str

    def mark_room(self, room_id: str, mark: Mark) -> None:
        """Remember that this changed in the room since it was last sent."""

    def mark_user(self, mark: UserMark) -> None:
        """Remember that this changed for the user or device."""

    def wake(self) -> None:
        """Look at the marks and answer a held request if they give it something to say.

        Called after the whole batch was dispatched, from a fair queue, never from within `mark_room`.
        """


class Deaf:
    """The listener of a connection that is closed: what refers to it does not keep the connection."""

    def __init__(self, device_id: str) -> None:
        self.device_id = device_id

    def mark_room(self, room_id: str, mark: Mark) -> None:
        """Nobody asks any more."""

    def mark_user(self, mark: UserMark) -> None:
        """Nobody asks any more."""

    def wake(self) -> None:
        """Nobody waits."""
