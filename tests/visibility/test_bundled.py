"""What is bundled with an event happened later than it, and goes to those who may see that, too (spec/msc4186.md)."""

from __future__ import annotations

from itertools import product
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.dialects.msc3575 import MSC3575
from syncproxy.dialects.msc4186 import MSC4186
from syncproxy.protocol.response import RoomAnswer
from tests.rooms.events import edit, reply
from tests.visibility.history import Step
from tests.visibility.homeserver import ALICE, BOB, USERS, Homeserver
from tests.visibility.proxy import Client, Proxy
from tests.visibility.test_histories import wrong

ROOM = "!1"
_KNOWN: tuple[Step, ...] = (("poll", BOB, ""), ("poll", ALICE, ""))
_LATER = tuple((what, ALICE, ROOM) for what in ("edit", "reply"))


class LeakTests(SynchronousTestCase):
    """An edit, or a thread's reply, of Alice's that is not for Bob, by both protocols, with old and new clients."""

    def check(self, *steps: Step) -> None:
        for later, state_after in product(_LATER, (False, True)):
            shown = [later if what == "later" else (what, *rest) for what, *rest in steps]
            self.assertEqual(wrong(tuple(shown), state_after=state_after), [], shown)  # type: ignore[arg-type]

    def test_after_a_kick(self) -> None:
        """Who was put out goes on seeing the event as it was."""
        said = (("say", ALICE, ROOM), *_KNOWN, ("kick", BOB, ROOM))
        self.check(*_KNOWN, *said, *_KNOWN, ("later", "", ""), ("poll", ALICE, ""))

    def test_told_at_once(self) -> None:
        """Also where one answer brings event, kick and edit, and where a restart comes in between."""
        said = (("say", ALICE, ROOM), ("kick", BOB, ROOM), ("later", "", ""))
        self.check(*_KNOWN, *said, ("poll", ALICE, ""), ("restart", "", ""), *_KNOWN)
        self.check(*_KNOWN, *said, *_KNOWN)

    def test_past_the_horizon(self) -> None:
        """Who may have been put out while the proxy was down is shown the event as it was before."""
        kicked = (("kick", BOB, ROOM), ("later", "", ""), ("restart", "", ""), ("poll", ALICE, ""))
        self.check(*_KNOWN, ("say", ALICE, ROOM), *_KNOWN, *kicked)


class TimelineTests(SynchronousTestCase):
    """Alice and Bob, who are in the room, and what Alice has said."""

    def setUp(self) -> None:
        self.hs = Homeserver()
        self.hs.create(ROOM, ALICE, BOB)
        self.proxy = Proxy(self.hs, USERS, state_after=False)
        self.poll()
        self.said = self.hs.send(ROOM, ALICE).event.event_id
        self.poll()

    def poll(self) -> None:
        for user_id in USERS:
            self.proxy.ask(user_id)
            self.proxy.answer(user_id)
            for _ in self.proxy.deliver(user_id):
                pass

    def relations(self, room: RoomAnswer) -> Any:
        """What is bundled with what Alice said."""
        event = dict(zip(room.timeline_ids, room.timeline, strict=True))[self.said]
        return msgspec.json.decode(event).get("unsigned", {}).get("m.relations")

    def test_new_connection(self) -> None:
        """It gets the newest edit and the thread, whoever wrote in that."""
        self.hs.relate(ROOM, ALICE, edit)
        self.hs.relate(ROOM, BOB, reply)
        self.hs.relate(ROOM, ALICE, edit)
        self.poll()
        for dialect in (MSC3575, MSC4186):
            told = self.relations(Client(self.proxy, BOB, dialect).sync().rooms[ROOM])
            self.assertEqual(told["m.replace"]["event_id"], f"${self.hs.now}")
            self.assertEqual((told["m.thread"]["count"], told["m.thread"]["latest_event"]["sender"]), (1, BOB))

    def test_live(self) -> None:
        """Who is sent event and edit, without anything missing before them, gets them as they came."""
        for dialect in (MSC3575, MSC4186):
            client = Client(self.proxy, BOB, dialect)
            client.sync()
            self.said = self.hs.send(ROOM, ALICE).event.event_id
            self.hs.relate(ROOM, ALICE, edit)
            self.poll()
            room = client.sync().rooms[ROOM]
            self.assertEqual((room.limited, len(room.timeline_ids)), (False, 2))
            self.assertIsNone(self.relations(room))

    def test_limited(self) -> None:
        """Who missed more than the timeline has gets the edit along with the event."""
        client = Client(self.proxy, BOB, MSC4186)
        client.sync()
        for _ in range(25):
            self.said = self.hs.send(ROOM, ALICE).event.event_id
            self.poll()
        self.hs.relate(ROOM, ALICE, edit)
        self.poll()
        room = client.sync().rooms[ROOM]
        self.assertTrue(room.limited)
        self.assertEqual(self.relations(room)["m.replace"]["event_id"], f"${self.hs.now}")

    def test_state(self) -> None:
        """What a homeserver bundles with state is in no `required_state`, which has no end that says who may see it."""
        bundle = {"m.relations": {"m.thread": {"count": 1, "latest_event": {"event_id": "$later"}}}}
        self.hs.send(ROOM, ALICE, "m.room.topic", state_key="", content={"topic": "x"}, unsigned=bundle)
        self.poll()
        for dialect in (MSC3575, MSC4186):
            room = Client(self.proxy, BOB, dialect).sync().rooms[ROOM]
            self.assertIn(b"topic", b"".join(room.required_state))
            self.assertNotIn(b"$later", b"".join(room.required_state))

    def test_ignored(self) -> None:
        """A thread in which somebody who is ignored wrote last is not shown; to others it is."""
        self.hs.ignore(ALICE, BOB)
        self.hs.relate(ROOM, BOB, reply)
        self.poll()
        shown = {user_id: Client(self.proxy, user_id, MSC4186).sync().rooms[ROOM] for user_id in (ALICE, BOB)}
        self.assertEqual([bool(self.relations(shown[user_id])) for user_id in (ALICE, BOB)], [False, True])
