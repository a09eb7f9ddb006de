"""Whose devices a device has to know."""

from __future__ import annotations

from syncproxy.rooms.answers import JoinedRoom, LeftRoom, Timeline
from tests.rooms.events import event, member
from tests.storage.cases import StorageCase
from tests.storage.events import ALICE, ALICE_JOINS, CREATE, answer


class UsersOfEncryptedRoomsTests(StorageCase):
    """`Reader.users_of_encrypted_rooms`."""

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits it
        """Alice is in an encrypted room and in a plain one, and was in another encrypted one."""
        await super().setUp()

        def room(room_id: str, name: str, *, encrypted: bool) -> JoinedRoom:
            secret = (event("$e" + name, "m.room.encryption", state_key=""),) if encrypted else ()
            others = tuple(
                member(f"${membership}{name}", f"@{membership}-{name}:hs", membership)
                for membership in ("join", "invite", "leave")
            )
            return JoinedRoom(room_id, (CREATE, ALICE_JOINS, *secret, *others), timeline=Timeline(()))

        rooms = room("!e", "e", encrypted=True), room("!p", "p", encrypted=False), room("!l", "l", encrypted=True)
        await self.writer.store(answer(ALICE, *rooms, since=None, sequence=1))
        left = LeftRoom("!l", timeline=Timeline((member("$bye", ALICE.user_id, "leave"),)))
        await self.writer.store(answer(ALICE, left=(left,), sequence=2, position=self.writer.position))

    async def test_members(self) -> None:
        """Who is in an encrypted room of the user, or invited to it; no one else."""
        found = await self.reader.users_of_encrypted_rooms(ALICE.user_id, 100)
        self.assertEqual(sorted(found), [ALICE.user_id, "@invite-e:hs", "@join-e:hs"])

    async def test_bound(self) -> None:
        """So many at the most."""
        self.assertEqual(len(await self.reader.users_of_encrypted_rooms(ALICE.user_id, 2)), 2)

    async def test_others(self) -> None:
        """Of a user who is nowhere nobody is known."""
        self.assertEqual(await self.reader.users_of_encrypted_rooms("@nobody:hs", 100), [])
