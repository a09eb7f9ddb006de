"""Answers of both of MSC4186's dialects (spec/msc4186.md, the table of dialects)."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.dialects.msc4186 import MSC4186
from syncproxy.dialects.msc4186_unstable import MSC4186_UNSTABLE
from syncproxy.matrix.names import Hero
from syncproxy.protocol.dialect import Dialect
from syncproxy.protocol.request import ALL_ROOMS
from syncproxy.protocol.response import Answer, ListAnswer, RoomAnswer, Sync

BOTH: tuple[Dialect, ...] = (MSC4186_UNSTABLE, MSC4186)


def encoded(dialect: Dialect, **members: Any) -> Any:
    empty: dict[str, Any] = {"txn_id": None, "lists": {}, "rooms": {}, "extensions": {}}
    return json.loads(dialect.encode(Answer("p", **{**empty, **members})))


def room(dialect: Dialect, **members: Any) -> Any:
    return encoded(dialect, rooms={"!r": RoomAnswer(**members)})["rooms"]["!r"]


class WholeTests(SynchronousTestCase):
    """The answer as a whole."""

    def test_empty(self) -> None:
        """`rooms` and `extensions` are always objects; `lists` is there if lists were asked for."""
        for dialect in BOTH:
            self.assertEqual(encoded(dialect), {"pos": "p", "rooms": {}, "extensions": {}})

    def test_slices(self) -> None:
        """A `SYNC` for each range on the unstable path, even an empty one; the stable one has the count alone."""
        lists = {"a": ListAnswer(3, (Sync((0, 1), ("!a", "!b")), Sync((5, 9), ())))}
        ops = [
            {"op": "SYNC", "range": [0, 1], "room_ids": ["!a", "!b"]},
            {"op": "SYNC", "range": [5, 9], "room_ids": []},
        ]
        self.assertEqual(encoded(MSC4186_UNSTABLE, lists=lists)["lists"], {"a": {"count": 3, "ops": ops}})
        self.assertEqual(encoded(MSC4186, lists=lists)["lists"], {"a": {"count": 3}})

    def test_no_range_was_asked_for(self) -> None:
        """All rooms are no range of the client's: nothing is said of it."""
        lists = {"a": ListAnswer(1, (Sync(ALL_ROOMS, ("!a",)),))}
        self.assertEqual(encoded(MSC4186_UNSTABLE, lists=lists)["lists"], {"a": {"count": 1, "ops": []}})


class RoomTests(SynchronousTestCase):
    """A room's object."""

    def test_both_have(self) -> None:
        """Everything that is spelled alike."""
        members = {
            "initial": True, "name": "Den", "avatar": "mxc://a", "prev_batch": "b", "limited": True, "num_live": 0,
            "joined_count": 2, "invited_count": 0, "is_dm": True, "bump_stamp": 7,
        }  # fmt: skip
        for dialect in BOTH:
            self.assertEqual(room(dialect, **members), members)

    def test_events_are_the_bytes_that_came(self) -> None:
        """In `timeline` and `required_state`."""
        event = b'{"type" : "a", "n":1.0e2}'
        for dialect in BOTH:
            body = dialect.encode(
                Answer("p", None, {}, {"!r": RoomAnswer(timeline=[event], required_state=[event])}, {})
            )
            self.assertEqual(body.count(event), 2)

    def test_words(self) -> None:
        """A longer timeline, and the stripped state, have names of their own."""
        members: dict[str, Any] = {"expanded": True, "stripped_state": b"[]"}
        self.assertEqual(room(MSC4186_UNSTABLE, **members), {"unstable_expanded_timeline": True, "invite_state": []})
        self.assertEqual(room(MSC4186, **members), {"expanded_timeline": True, "stripped_state": []})

    def test_unread_counts(self) -> None:
        """On the unstable path only."""
        counts = {"notification_count": 3, "highlight_count": 0}
        self.assertEqual((room(MSC4186_UNSTABLE, **counts), room(MSC4186, **counts)), (counts, {}))

    def test_membership_and_lists(self) -> None:
        """On the stable path only."""
        members: dict[str, Any] = {"membership": "join", "lists": ["a"]}
        self.assertEqual((room(MSC4186_UNSTABLE, **members), room(MSC4186, **members)), ({}, members))

    def test_state_that_is_gone(self) -> None:
        """A stub without content, on the stable path only."""
        members = {"removed_state": [("m.room.topic", "")], "required_state": [b'{"a":1}']}
        stub = {"type": "m.room.topic", "state_key": ""}
        self.assertEqual(room(MSC4186, **members), {"required_state": [{"a": 1}, stub]})
        self.assertEqual(room(MSC4186_UNSTABLE, **members), {"required_state": [{"a": 1}]})

    def test_name_that_was_removed(self) -> None:
        """`null` on the stable path, left out on the other; heroes in both."""
        members: dict[str, Any] = {"name": "", "heroes": [Hero("@b:hs", "join", "Bob")]}
        heroes = [{"user_id": "@b:hs", "displayname": "Bob"}]
        self.assertEqual(room(MSC4186_UNSTABLE, **members), {"heroes": heroes})
        self.assertEqual(room(MSC4186, **members), {"name": None, "heroes": heroes})

    def test_avatar(self) -> None:
        """`null` where it was removed, else left out."""
        for dialect in BOTH:
            self.assertEqual((room(dialect, avatar=None), room(dialect)), ({"avatar": None}, {}))

    def test_no_dm_any_more(self) -> None:
        """`false` is said."""
        for dialect in BOTH:
            self.assertEqual(room(dialect, is_dm=False), {"is_dm": False})
