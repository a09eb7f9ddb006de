"""A gap in the running service: those whom it may have put out wait for their own next poll, and no longer."""

from __future__ import annotations

from functools import partial

from tests.integration.harness import ALICE, ALL, BOB, ProxyCase


class GapTests(ProxyCase):
    """More happens at once than one answer brings."""

    async def test_everybody_sees_past_it_at_once(self) -> None:
        """Whose poll did not bring the gap is polled again without waiting, though nothing more is new."""
        room = self.hs.create_room(ALICE, name="Kitchen", members=[BOB])
        clients = [self.client(user_id) for user_id in (ALICE, BOB)]
        for client, user_id in zip(clients, (ALICE, BOB), strict=True):
            await client.sync(lists={"all": ALL})
            await client.until(partial(self._is_long, user_id))
        for number in range(60):
            room.message(ALICE, f"m{number}")
        for client in clients:
            await client.hears(room.room_id, "m59")

    def _is_long(self, user_id: str) -> bool:
        return self.hs.polling(user_id) > 0 and int(self.hs.called("sync", user_id)[-1].args["timeout"]) >= 30_000
