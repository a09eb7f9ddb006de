"""Killed after an answer was told that is not stored: its counts and receipts are nowhere written."""

from __future__ import annotations

from typing import Any

import psycopg2

from syncproxy.storage.points import Point
from tests.integration.client import SlidingClient
from tests.integration.harness import ALICE, BOB, CAROL
from tests.kill.harness import KillCase
from tests.kill.program import arm, was_hit
from tests.kill.story import first_request

_STORED = """SELECT d.since, d.horizon, r.event_id FROM syncproxy.devices d
    JOIN syncproxy.receipts r ON r.user_id = d.user_id AND r.private WHERE d.user_id = %s"""


class RepeatTests(KillCase):
    """Alice's poller brings a message; Carol's brings it again, with her count, and with what she has read herself."""

    async def begin(self) -> None:
        """Both know the room with one message, which Carol has read in private."""
        self.room = self.hs.create_room(ALICE, name="kitchen", members=[BOB, CAROL])
        self.watching = {user: self.client(user) for user in (ALICE, CAROL)}
        self.carols = [self.watching[CAROL]]
        for client in self.watching.values():
            await client.sync(**first_request())
        for user in self.watching:
            await self.looks_until(lambda user=user: self.hs.polling(user), f"a long poll of {user}")  # type: ignore[misc]
        self.says("one")
        await self.knows("one")

    def says(self, body: str) -> str:
        """Bob says something, and Carol reads it in private."""
        event_id = self.room.message(BOB, body)
        self.room.receipt(CAROL, event_id, "m.read.private")
        # what she has read counts as none; here it counts on
        self.room.fixed_counts[CAROL] = (len(self.room.events), 1)
        return event_id

    async def knows(self, body: str, *users: str) -> None:
        """Their clients have it, once."""
        for user in users or (ALICE, CAROL):
            client = self.watching[user]
            await client.hears(self.room.room_id, body)
            bodies = client.room(self.room.room_id).bodies
            self.assertEqual(len(bodies), len(set(bodies)), user)

    def stored(self) -> Any:
        """Carol's `since`, her horizon and her private receipt as they are written."""
        connection = psycopg2.connect(self.database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(_STORED, (CAROL,))
                return cursor.fetchall()
        finally:
            connection.close()

    async def told(self, client: SlidingClient, event_id: str) -> None:
        """Carol has her count and what she has read."""

        def is_there() -> bool:
            kinds = client.receipts.get(self.room.room_id, {}).get(event_id, {})
            count = client.room(self.room.room_id).fields.get("notification_count")
            return CAROL in kinds.get("m.read.private", {}) and count == self.room.counts(CAROL)[0]

        await client.until(is_there)

    async def test_killed(self) -> None:
        """After the restart the old `since` is asked with: all comes again, nothing twice, and nothing is lost."""
        await self.begin()
        # a poll that begins later would be the one that hangs, with the to-device message in its answer
        await self.looks_until(lambda: self.hs.polling(CAROL), "her long poll")
        hang = self.hs.hang("sync", user_id=CAROL)
        asked = len(self.hs.called("sync", CAROL))
        self.hs.send_to_device(BOB, CAROL, "CAROL1", "m.test", {})
        await self.looks_until(lambda: len(self.hs.called("sync", CAROL)) > asked, "her next poll")
        event_id = self.says("two")
        await self.knows("two", ALICE)
        before = self.stored()
        arm(self.home, Point.REPEAT_TOLD)
        hang.release()
        await self.looks_until(lambda: was_hit(self.home) == Point.REPEAT_TOLD.name, Point.REPEAT_TOLD.value)
        await self.child.killed()
        self.assertEqual(self.stored(), before)
        await self.restart()
        await self.knows("two")
        await self.told(self.watching[CAROL], event_id)
        self.says("three")
        await self.knows("three")
