"""Edits and thread replies update the stored copy of what they are about (spec/msc4186.md, "Room config")."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.matrix.events import Event, StoredEvent
from tests.rooms.events import edit, event, reply
from tests.storage.cases import StorageCase
from tests.storage.events import ALICE, ALICE_JOINS, BOB, CREATE, ROOM
from tests.storage.pure import BOB_JOINS, Stored, both_in, named

BOB_SAYS = {"sender": "@bob:hs"}


def redaction(event_id: str, target: str) -> Event:
    """Alice redacts something."""
    return event(event_id, "m.room.redaction", redacts=target)


def relations(event: StoredEvent) -> dict[str, Any]:
    """What is bundled with a stored event."""
    found: dict[str, Any] = json.loads(event.json).get("unsigned", {}).get("m.relations", {})
    return found


def given(event_id: str, **told: Any) -> Event:
    """An event with what the homeserver has bundled with it."""
    return event(event_id, unsigned={"m.relations": {name.replace("_", "."): value for name, value in told.items()}})


class BundleCase(SynchronousTestCase):
    """Alice and bob are in the room, and $1 of alice's is the newest."""

    def setUp(self) -> None:
        self.stored = both_in()

    def brings(self, *events: Event, **block: Any) -> None:
        """Alice's poller brings this."""
        self.stored.polled(ALICE, *events, **block)

    def edited(self, event_id: str = "$1") -> str | None:
        """The id of the edit that is bundled."""
        found = relations(self.stored.events[event_id]).get("m.replace")
        return None if found is None else str(found["event_id"])

    def thread(self, event_id: str = "$1") -> tuple[int, str] | None:
        """How many replies there are, and the newest one's id."""
        found = relations(self.stored.events[event_id]).get("m.thread")
        return None if found is None else (found["count"], found["latest_event"]["event_id"])

    def nid(self, event_id: str) -> int:
        return self.stored.events[event_id].nid

    def seen_from(self, event_id: str = "$1") -> int:
        """The nid from which on it is shown what is bundled."""
        return self.stored.events[event_id].relations_nid


class EditTests(BundleCase):
    """Edits."""

    def test_newest(self) -> None:
        """The newest by its time is bundled, and seen by who sees it; nothing else of the event changes."""
        before = json.loads(self.stored.events["$1"].json)
        self.brings(edit("$2", "$1", origin_server_ts=3))
        self.assertEqual((self.edited(), self.seen_from()), ("$2", self.nid("$2")))
        self.brings(edit("$3", "$1", origin_server_ts=2))
        self.assertEqual((self.edited(), self.seen_from()), ("$2", self.nid("$2")))
        after = json.loads(self.stored.events["$1"].json)
        self.assertEqual({**after, "unsigned": {}}, {**before, "unsigned": {}})

    def test_told(self) -> None:
        """Caches are told of the event as it is now."""
        self.brings(edit("$2", "$1"))
        (change,) = self.stored.room_changes()
        self.assertEqual([one.event_id for one in change.rewritten], ["$1"])
        self.assertEqual(relations(change.rewritten[0])["m.replace"]["event_id"], "$2")

    def test_in_one_answer(self) -> None:
        """Event and edit may come together: the timeline has it as it is in the end."""
        self.brings(event("$2"), edit("$3", "$2"), edit("$4", "$2", origin_server_ts=2000))
        (change,) = self.stored.room_changes()
        self.assertEqual(relations(change.timeline[0])["m.replace"]["event_id"], "$4")

    def test_of_others(self) -> None:
        """Nobody edits what somebody else said, nor makes an event of another type of it, nor edits state."""
        self.brings(named("$n"))
        self.brings(
            edit("$2", "$1", **BOB_SAYS), edit("$3", "$1", kind="m.sticker"), edit("$4", "$n", kind="m.room.name")
        )
        self.assertEqual((self.edited(), self.edited("$n")), (None, None))

    def test_of_an_edit(self) -> None:
        """An edit is not edited."""
        self.brings(edit("$2", "$1"), edit("$3", "$2"))
        self.assertEqual((self.edited(), self.edited("$2")), ("$2", None))

    def test_of_what_is_not_stored(self) -> None:
        """Nothing happens, also if it comes later."""
        self.brings(edit("$3", "$2"))
        self.brings(event("$2"))
        self.assertIsNone(self.edited("$2"))

    def test_behind_a_gap(self) -> None:
        """What is before a gap is in no timeline with what is behind it: it stays as it is."""
        self.brings(edit("$3", "$1"), limited=True)
        self.assertIsNone(self.edited())

    def test_again(self) -> None:
        """Another poller that brings the same changes nothing."""
        self.brings(edit("$2", "$1"))
        before = self.stored.events["$1"]
        self.stored.told.clear()
        self.stored.polled(BOB, edit("$2", "$1"))
        self.assertEqual((self.stored.events["$1"], self.stored.room_changes()), (before, []))


class ThreadTests(BundleCase):
    """Replies in threads."""

    def test_counted(self) -> None:
        """Each is counted once, whoever's it is; the newest to come is bundled."""
        self.brings(reply("$2", "$1", **BOB_SAYS), reply("$3", "$1"))
        self.stored.polled(BOB, reply("$2", "$1", **BOB_SAYS), reply("$3", "$1"), reply("$4", "$1"))
        self.assertEqual((self.thread(), self.seen_from()), ((3, "$4"), self.nid("$4")))

    def test_counted_by_the_homeserver(self) -> None:
        """What came with an event that has its thread bundled is counted there; what comes later is added."""
        thread = {"count": 5, "latest_event": {"event_id": "$4"}}
        block = (given("$2", m_thread=thread), reply("$3", "$2", **BOB_SAYS), reply("$4", "$2"), event("$5"))
        self.brings(*block, limited=True)
        self.assertEqual((self.thread("$2"), self.seen_from("$2")), ((5, "$4"), self.nid("$4")))
        self.brings(reply("$6", "$2"))
        self.assertEqual((self.thread("$2"), self.seen_from("$2")), ((6, "$6"), self.nid("$6")))

    def test_bundled_ahead(self) -> None:
        """The reply that was bundled before it came is counted already."""
        thread = {"count": 1, "latest_event": {"event_id": "$4"}}
        self.brings(given("$2", m_thread=thread), event("$3"), limited=True)
        self.assertEqual(self.seen_from("$2"), self.nid("$3"))
        self.brings(reply("$4", "$2"))
        self.assertEqual(self.thread("$2"), (1, "$4"))

    def test_not_in_a_thread(self) -> None:
        """No thread begins within another one."""
        self.brings(reply("$2", "$1"), reply("$3", "$2"))
        self.assertEqual((self.thread(), self.thread("$2")), ((1, "$2"), None))


class RedactionTests(BundleCase):
    """What is bundled and redacted."""

    def test_edit(self) -> None:
        """An edit that is redacted is nowhere."""
        self.brings(edit("$2", "$1"))
        self.brings(redaction("$r", "$2"))
        self.assertIsNone(self.edited())

    def test_edit_in_one_answer(self) -> None:
        """Also if it comes with its redaction, whichever is first, and does not come back."""
        for order in (1, -1):
            self.stored = both_in()
            self.brings(*(edit("$2", "$1"), redaction("$r", "$2"))[::order])
            self.stored.polled(BOB, edit("$2", "$1"), redaction("$r", "$2"))
            self.assertIsNone(self.edited())

    def test_reply(self) -> None:
        """A reply is not counted, and shown pruned."""
        self.brings(reply("$2", "$1"), reply("$3", "$1"))
        self.brings(redaction("$r", "$3"))
        self.assertEqual(self.thread(), (1, "$3"))
        self.assertEqual(relations(self.stored.events["$1"])["m.thread"]["latest_event"]["content"], {})
        self.brings(redaction("$s", "$3"), redaction("$t", "$2"))
        self.assertIsNone(self.thread())

    def test_edit_of_a_reply(self) -> None:
        """What the homeserver bundled within a thread goes, too."""
        nested = {"m.replace": {"event_id": "$4", "content": {"body": "secret"}}}
        thread = {"count": 1, "latest_event": {"event_id": "$3", "unsigned": {"m.relations": nested}}}
        self.brings(given("$2", m_thread=thread), reply("$3", "$2"), edit("$4", "$3"), limited=True)
        self.assertEqual(self.seen_from("$2"), self.nid("$4"))
        self.brings(redaction("$r", "$4"))
        self.assertNotIn(b"secret", self.stored.events["$2"].json)
        self.assertEqual(self.thread("$2"), (1, "$3"))

    def test_target(self) -> None:
        """A redacted event has nothing bundled, and gets nothing any more."""
        self.brings(edit("$2", "$1"))
        self.brings(redaction("$r", "$1"))
        self.brings(edit("$3", "$1"), reply("$4", "$1"))
        self.assertEqual((relations(self.stored.events["$1"]), self.seen_from()), ({}, 0))


class DatabaseTests(StorageCase):
    """The same on PostgreSQL, read back."""

    async def brings(self, *events: Event, **facts: Any) -> None:
        """Alice's poller brings this."""
        block = Stored().answer(ALICE, *events, position=self.writer.position, **facts)
        await self.writer.store(block)

    async def event(self, event_id: str) -> StoredEvent:
        """As it is stored."""
        events = (await self.reader.timelines({ROOM: self.writer.position}, 1000))[ROOM]
        return next(one for one in events if one.event_id == event_id)

    async def begin(self, *events: Event) -> None:
        await self.brings(*events, state=(CREATE, ALICE_JOINS, BOB_JOINS), since=None)

    async def test_edited_and_redacted(self) -> None:
        """An edit changes what is read of its target; redacting it does so again, though only the edit is named."""
        await self.begin(event("$1"))
        await self.brings(edit("$2", "$1"))
        found = await self.event("$1")
        self.assertEqual(relations(found)["m.replace"]["event_id"], "$2")
        self.assertEqual(found.relations_nid, (await self.event("$2")).nid)
        await self.brings(redaction("$r", "$2"))
        self.assertEqual(relations(await self.event("$1")), {})

    async def test_edit_of_a_reply(self) -> None:
        """Redacting an edit of a reply is found out where the thread began."""
        nested = {"m.replace": {"event_id": "$4", "content": {"body": "secret"}}}
        thread = {"count": 1, "latest_event": {"event_id": "$3", "unsigned": {"m.relations": nested}}}
        await self.begin(given("$2", m_thread=thread), reply("$3", "$2"), edit("$4", "$3"))
        self.assertIn(b"secret", (await self.event("$2")).json)
        await self.brings(redaction("$r", "$4"))
        self.assertNotIn(b"secret", (await self.event("$2")).json)

    async def test_many(self) -> None:
        """So does what comes by the hundreds, by COPY."""
        pairs = [one for n in range(200) for one in (event(f"${n}"), edit(f"$e{n}", f"${n}"))]
        await self.begin(*pairs)
        for n in (0, 199):
            found = await self.event(f"${n}")
            self.assertEqual(found.relations_nid, (await self.event(f"$e{n}")).nid)
        await self.brings(redaction("$r", "$e199"))
        self.assertEqual(relations(await self.event("$199")), {})
