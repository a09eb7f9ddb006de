"""The proxy's answers and those of Synapse's own sliding sync are alike, save what the reference lists: sight."""

from __future__ import annotations

from tests.e2e.native_case import NAMED, NativeCase, body, on


class SightTests(NativeCase):
    """Each step of a session is asked of both."""

    async def test_history(self) -> None:
        """What was said before Bob was invited, and while he was, where only members or the invited may see it."""
        rooms = {}
        for visibility in ("joined", "invited", "shared"):
            rooms[visibility] = self.room(visibility)
            self.alice.set_state(rooms[visibility], "m.room.history_visibility", {"history_visibility": visibility})
        with self.scenario("history"):
            self.same("nothing", body())
            for what in ("before", "invited"):
                for room in rooms.values():
                    self.alice.say(room, what)
                    if what == "before":
                        self.alice.invite(room, self.bob)
            self.same("invites", body())
            for room in rooms.values():
                self.bob.join(room)
                self.alice.say(room, "joined")
            self.same("joins", body(limit=3))
            self.same("longer", body(limit=10))

    async def test_ignored_users(self) -> None:
        """Messages, state, typing and receipts of somebody who is ignored, and no more."""
        kitchen = self.room("Kitchen", self.bob)
        carol = self.person("carol")
        carol.join(kitchen)
        asked = on("account_data", "typing", "receipts")
        with self.scenario("ignored"):
            self.same("first", body(extensions=asked))
            self.bob.set_account_data("m.ignored_user_list", {"ignored_users": {carol.user_id: {}}})
            self.same("ignored", body(extensions=asked))
            carol.say(kitchen, "unheard")
            heard = self.alice.say(kitchen, "heard")
            self.same("messages", body(extensions=asked))
            carol.type_in(kitchen)
            carol.read(kitchen, heard)
            self.same("ephemeral", body(extensions=asked))
            carol.set_state(kitchen, "m.room.member", {"membership": "join", "displayname": "C"}, carol.user_id)
            self.same("state", body(extensions=asked))
            self.bob.set_account_data("m.ignored_user_list", {"ignored_users": {}})
            self.same("heard again", body(extensions=asked))
            carol.say(kitchen, "once more")
            self.same("message", body(extensions=asked))

    async def test_upgrade(self) -> None:
        """A room is replaced by another; a space gets children."""
        kitchen = self.room("Kitchen", self.bob)
        house = self.room("House", self.bob, creation_content={"type": "m.space"})
        state = [*NAMED, ["m.room.tombstone", ""], ["m.space.child", "*"]]
        with self.scenario("upgrade"):
            self.same("first", body(state=state))
            newer = self.alice.upgrade(kitchen)
            self.names[newer] = "!Newer"
            self.same("upgraded", body(state=state))
            self.bob.join(newer)
            self.same("joined", body(state=state))
            self.alice.set_state(house, "m.space.child", {"via": ["hs.test"]}, newer)
            self.same("child", body(state=state))
            self.alice.set_state(house, "m.space.child", {}, newer)
            self.same("no child", body(state=state))
