"""What the database can never store is dropped alone."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet.defer import Deferred, gatherResults

from syncproxy.matrix.devices import Device
from syncproxy.matrix.events import Event
from syncproxy.rooms.answers import AccountDatum, JoinedRoom, LeftRoom, StrippedRoom, Timeline, ToDeviceMessage
from syncproxy.rooms.receipts import Receipt
from syncproxy.storage.work import SaveToken
from tests.rooms.events import event, member
from tests.storage.cases import StorageCase
from tests.storage.events import ALICE, ALICE_JOINS, BOB, CREATE, ROOM, answer, first_answer

NUL = "a\0b"
#: too long for an index
LONG = "$" + "".join(chr(0x4E00 + number % 20000) for number in range(7919, 7919 * 5000, 7919))


def nul(event: Event) -> Event:
    """The event with a sender that no text column takes."""
    return msgspec.structs.replace(event, sender=NUL)


#: refuses a message for what it is
_REFUSING = """CREATE FUNCTION refused() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN IF NEW.json = '{"n":2}'::bytea THEN RAISE SQLSTATE '22000'; END IF; RETURN NEW; END $$;
    CREATE TRIGGER refusing BEFORE INSERT ON to_device FOR EACH ROW EXECUTE FUNCTION refused()"""


class BadDataTests(StorageCase):
    """One bad thing in an answer; the rest of it is stored, and its `since`."""

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits it
        """Start with Alice's first sync."""
        await super().setUp()
        await self.writer.store(first_answer())
        self.told.clear()

    def dropped(self) -> float:
        """How many things were counted as dropped."""
        return self.metrics.registry.get_sample_value("syncproxy_errors_total", {"kind": "dropped"}) or 0

    async def stored(self, **members: Any) -> None:
        """Store Alice's second answer, with these members; its `since` advances."""
        await self.writer.store(answer(ALICE, sequence=2, next_batch="s3", position=self.writer.position, **members))
        row = await self.reader.device(ALICE)
        assert row is not None
        self.assertEqual((row.since, row.sequence), ("s3", 2))

    def timeline(self) -> list[str]:
        """The events that were told."""
        return [stored.event_id for change in self.room_changes() for stored in change.timeline]

    async def test_events(self) -> None:
        """Events that cannot be are left out of the timeline, which is told and stored without them."""
        events = [event(f"${number}") for number in range(2, 60)]
        events[10] = nul(event("$nul"))
        events[40] = event(LONG)
        events[41] = event("$big", origin_server_ts=1)
        await self.stored(joined=(JoinedRoom(ROOM, timeline=Timeline(tuple(events))),))
        wanted = [one.event_id for one in events if one.event_id not in ("$nul", LONG)]
        self.assertEqual(self.timeline(), wanted)
        self.assertEqual(self.dropped(), 2)
        rows = await self.database.query("SELECT event_id FROM events WHERE nid > 3 ORDER BY nid")
        self.assertEqual([event_id for (event_id,) in rows], wanted)

    async def test_in_one_of_many_slices(self) -> None:
        """So in an answer of which several slices are stored at once: each room has all its other events."""
        rooms = []
        for number in range(20):
            events = [event(f"${number}-{one}") for one in range(240)]
            events[7] = nul(events[7]) if number == 12 else events[7]
            rooms.append(JoinedRoom(f"!{number}", state=(CREATE, ALICE_JOINS), timeline=Timeline(tuple(events))))
        await self.stored(joined=tuple(rooms))
        counted = await self.database.query("SELECT room_id, count(*) FROM events WHERE in_timeline GROUP BY room_id")
        wanted = {f"!{number}": 239 if number == 12 else 240 for number in range(20)}
        self.assertEqual({room_id: count for room_id, count in counted if room_id != ROOM}, wanted)
        self.assertEqual((self.dropped(), len(self.timeline())), (1, 20 * 240 - 1))

    async def test_state(self) -> None:
        """A member event that cannot be is dropped, the other members come in."""
        state = (member("$b", "@b:hs", "join"), nul(member("$nul", "@n:hs", "join")), member("$c", "@c:hs", "join"))
        await self.stored(joined=(JoinedRoom(ROOM, state=state, state_after=True),))
        known = await self.reader.all_members(ROOM, self.writer.position)
        self.assertEqual({entry.event.state_key for entry in known}, {"@alice:hs", "@b:hs", "@c:hs"})

    async def test_to_device(self) -> None:
        """To-device messages arrive, in their order, without the one that cannot be."""
        await self.database.query(_REFUSING)
        messages = [ToDeviceMessage("m.a", "@b:hs", b'{"n":%d}' % number) for number in range(5)]
        await self.stored(to_device=tuple(messages))
        rows = await self.database.query("SELECT json FROM to_device ORDER BY nid")
        self.assertEqual([bytes(json) for (json,) in rows], [b'{"n":0}', b'{"n":1}', b'{"n":3}', b'{"n":4}'])

    async def test_account_data(self) -> None:
        """So with account data, of the user and of a room."""
        data = (AccountDatum("m.a", b'{"a":1}'), AccountDatum(NUL, b'{"a":2}'))
        await self.stored(account_data=data, joined=(JoinedRoom(ROOM, account_data=data),))
        found = {(datum.room_id, datum.type) for datum in await self.reader.account_data(ALICE.user_id)}
        self.assertEqual(found, {(None, "m.a"), (ROOM, "m.a")})
        self.assertEqual(self.dropped(), 2)

    async def test_receipts(self) -> None:
        """So with receipts."""
        receipts = (Receipt(ROOM, "@b:hs", "$1", 5), Receipt(ROOM, "@c:hs", "$1", 2**70), Receipt(ROOM, NUL, "$1", 6))
        await self.stored(joined=(JoinedRoom(ROOM, receipts=receipts),))
        self.assertEqual(await self.database.query("SELECT user_id FROM receipts"), [("@b:hs",)])

    async def test_sections(self) -> None:
        """A room whose id cannot be is dropped, with all that is in it; the others come in."""
        await self.stored(
            joined=(JoinedRoom(NUL, timeline=Timeline((event("$x"),))), JoinedRoom(ROOM, notification_count=7)),
            left=(LeftRoom(NUL),),
            stripped=(StrippedRoom(NUL, "invite", b"[]"), StrippedRoom("!invite:hs", "invite", b"[]")),
        )
        rooms = {row.room_id: row.membership for row in await self.reader.user_rooms(ALICE.user_id)}
        self.assertEqual(rooms, {ROOM: "join", "!invite:hs": "invite"})

    async def test_next_batch(self) -> None:
        """A `since` that cannot be stored is dropped: what came is stored, the old one stays."""
        room = JoinedRoom(ROOM, timeline=Timeline((event("$2"),)))
        await self.writer.store(answer(ALICE, room, sequence=2, next_batch=NUL, position=self.writer.position))
        self.assertEqual(self.timeline(), ["$2"])
        row = await self.reader.device(ALICE)
        self.assertEqual(row and row.since, "s2")

    async def test_others_in_the_batch(self) -> None:
        """Answers that waited beside a bad one are stored whole, in their order."""
        storing = []
        for sequence in range(2, 12):
            came = nul(event("$5")) if sequence == 5 else event(f"${sequence}")
            room = JoinedRoom(ROOM, timeline=Timeline((came,)))
            storing.append(self.writer.store(answer(ALICE, room, sequence=sequence, position=self.writer.position)))
        await gatherResults(storing)
        self.assertEqual(self.timeline(), [f"${sequence}" for sequence in range(2, 12) if sequence != 5])
        self.assertEqual(self.dropped(), 1)

    async def test_nothing_of_it(self) -> None:
        """An answer whose device cannot be stored fails; those of its batch are stored."""
        failing: Deferred[None] = self.writer.store(answer(Device(NUL, "A"), joined=(JoinedRoom(ROOM),)))
        good: Deferred[None] = self.writer.store(first_answer(BOB))
        await self.assertFailure(failing, ValueError)
        await good
        self.assertIsNotNone(await self.reader.device(BOB))

    async def test_work(self) -> None:
        """Work that cannot be done fails alone."""
        failing = self.writer.do(SaveToken(b"hash", Device(NUL, "A"), b"", 0))
        good = self.writer.do(SaveToken(b"hash", BOB, b"", 0))
        await self.assertFailure(failing, ValueError)
        await good
        self.assertEqual(len(await self.reader.tokens_of(BOB)), 1)

    async def test_telling_fails(self) -> None:
        """What was stored is not stored again because it could not be told."""

        def broken(changes: object) -> None:
            raise ValueError("a bug")

        self.writer.committed = broken
        await self.stored(joined=(JoinedRoom(ROOM, timeline=Timeline((event("$2"),))),))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
