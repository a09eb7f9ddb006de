"""What the proxy answers by MSC4186 is what Synapse's own sliding sync answers, save what the reference lists."""

from __future__ import annotations

import re
from pathlib import Path

from tests.e2e.harness import EndToEndCase
from tests.e2e.person import Json, Person
from tests.e2e.side_by_side import Pair

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "native.md"
_ROW = re.compile(r"^\| `([^`]+)` \| `([^`]+)` \| ", re.MULTILINE)
NAMED = [["m.room.create", ""], ["m.room.name", ""], ["m.room.member", "$ME"], ["m.room.member", "$LAZY"]]


def body(last: int = 19, limit: int = 5, state: list[list[str]] = NAMED, **more: object) -> Json:
    """A request for a list of rooms up to an index."""
    config = {"timeline_limit": limit, "required_state": state}
    return {"conn_id": "pair", "lists": {"all": {"ranges": [[0, last]], **config}}, **more}


class NativeTests(EndToEndCase):
    """Each step of a session is asked of both."""

    async def setUp(self) -> None:  # type: ignore[override]
        """Alice acts; Bob looks at both servers."""
        await super().setUp()
        self.alice, self.bob = self.people("alice", "bob")
        self.pair = Pair(self.proxy.url, self.synapse.url, self.bob)

    def same(self, step: str, asked: Json) -> None:
        """Both answer alike, but for what the page lists."""
        listed = set(_ROW.findall(PAGE.read_text()))
        found = sorted(one for one in self.pair.ask(asked) if not listed & {("*", one[0]), (step, one[0])})
        self.assertEqual(found, [], step)

    def invite(self, room: str, who: Person) -> None:
        """Alice invites somebody."""
        self.alice.call("POST", f"rooms/{room}/invite", {"user_id": who.user_id})

    async def test_windows_and_messages(self) -> None:
        """First request, growing window, messages, state, a name removed, a raised limit, wider state."""
        # of what was before the first poll the proxy holds an event a room
        self.pair.settle()
        rooms = [self.alice.create_room(f"Room {number}", self.bob) for number in range(3)]
        self.same("first", body(0))
        self.same("grown", body())
        self.alice.say(rooms[0], "hello")
        self.same("message", body())
        self.alice.set_state(rooms[1], "m.room.topic", {"topic": "tea"})
        self.same("state", body())
        self.alice.set_state(rooms[0], "m.room.name", {"name": ""})
        self.same("name removed", body())
        self.same("raised limit", body(limit=20))
        self.same("wider state", body(limit=20, state=[*NAMED, ["m.room.topic", ""]]))

    async def test_memberships(self) -> None:
        """Invite, accept, reject, leave, rejoin, kick, ban."""
        room = self.alice.create_room("Kitchen")
        self.same("nothing", body())
        self.invite(room, self.bob)
        self.same("invite", body())
        self.bob.join(room)
        self.same("accept", body())
        self.bob.leave(room)
        self.same("leave", body())
        self.bob.join(room)
        self.same("rejoin", body())
        self.alice.kick(room, self.bob)
        self.same("kick", body())
        self.bob.join(room)
        self.alice.call("POST", f"rooms/{room}/ban", {"user_id": self.bob.user_id})
        self.same("ban", body())
        refused = self.alice.create_room("Party")
        self.invite(refused, self.bob)
        self.same("second invite", body())
        self.bob.leave(refused)
        self.same("reject", body())
