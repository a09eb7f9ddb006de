"""The proxy's answers and those of Synapse's own sliding sync are alike, save what the reference lists: rooms."""

from __future__ import annotations

from tests.e2e.native_case import NAMED, NativeCase, body, config

TOPIC = ["m.room.topic", ""]
AVATAR = ["m.room.avatar", ""]
RULES = ["m.room.join_rules", ""]


class RoomTests(NativeCase):
    """Each step of a session is asked of both."""

    async def test_windows(self) -> None:
        """First request, growing window, messages, state, a name removed, a raised limit, wider state."""
        rooms = [self.room(f"Room {number}", self.bob) for number in range(3)]
        with self.scenario("windows"):
            self.same("first", body(0))
            self.same("grown", body())
            self.alice.say(rooms[0], "hello")
            self.same("message", body())
            self.alice.set_state(rooms[1], "m.room.topic", {"topic": "tea"})
            self.same("state", body())
            self.same("narrow", body(0))
            for number in range(7):
                self.alice.say(rooms[2], f"number {number}")
            self.alice.say(rooms[0], "the newest")
            self.same("outside", body(0))
            self.same("back inside", body())
            self.alice.set_state(rooms[0], "m.room.name", {"name": ""})
            self.same("name removed", body())
            self.alice.say(rooms[0], "too late for the lost answer")
            self.same("lost answer", body(), again=True)
            self.same("lost answer with another body", body(0, 1), again=True)
            self.same("nothing new", body())
            self.same("raised limit", body(limit=20))
            self.same("wider state", body(limit=20, state=[*NAMED, TOPIC]))
            self.same("narrower state", body(limit=20))
            self.same("widened again", body(limit=20, state=[*NAMED, TOPIC]))
            self.same_anew("anew", body(1))

    async def test_memberships(self) -> None:
        """Invite, accept, leave, rejoin, kick, ban, unban, reject, retract."""
        room = self.room("Kitchen")
        with self.scenario("memberships"):
            self.same("nothing", body())
            self.alice.invite(room, self.bob)
            self.same("invite", body())
            self.bob.join(room)
            self.same("accept", body())
            self.alice.say(room, "welcome")
            self.same("message", body())
            self.bob.leave(room)
            self.same("leave", body())
            self.bob.join(room)
            self.same("rejoin", body())
            self.alice.kick(room, self.bob)
            self.same("kick", body())
            self.same_anew("kicked, anew", body())
            self.bob.join(room)
            self.alice.ban(room, self.bob)
            self.same("ban", body())
            self.alice.say(room, "he is gone")
            self.same("behind his back", body())
            self.alice.unban(room, self.bob)
            self.same("unban", body())
            self.same_anew("unbanned, anew", body())
            self.bob.join(room)
            self.same("back", body())
            self.bob.leave(room)
            self.same_anew("left, anew", body())

    async def test_requests_to_join(self) -> None:
        """Invites that are rejected and retracted, knocks that are taken back, refused and let in."""
        party, dinner = self.room("Party"), self.room("Dinner")
        club = self.room("Club")
        self.alice.set_state(club, "m.room.join_rules", {"join_rule": "knock"})
        with self.scenario("requests"):
            self.same("nothing", body())
            self.alice.invite(party, self.bob)
            self.same("invite", body())
            self.bob.leave(party)
            self.same("reject", body())
            self.same("after reject", body())
            self.alice.invite(dinner, self.bob)
            self.same("second invite", body())
            self.alice.kick(dinner, self.bob)
            self.same("retract", body())
            self.bob.knock(club)
            self.same("knock", body())
            self.bob.leave(club)
            self.same("knock taken back", body())
            self.bob.knock(club)
            self.same("second knock", body())
            self.alice.kick(club, self.bob)
            self.same("knock refused", body())
            self.bob.knock(club)
            self.alice.invite(club, self.bob)
            self.same("knock answered", body())
            self.bob.join(club)
            self.alice.say(club, "welcome")
            self.same("let in", body())
            self.same_anew("anew", body())

    async def test_direct_messages(self) -> None:
        """`m.direct` set, changed and emptied; rooms named by their members, whose names and avatars change."""
        self.alice.set_profile("avatar_url", "mxc://hs.test/alice")
        with self.scenario("direct"):
            room = self.nameless("Alice", invite=[self.bob.user_id], is_direct=True, preset="trusted_private_chat")
            self.same("invite", body())
            self.bob.join(room)
            self.same("join", body())
            self.bob.set_account_data("m.direct", {self.alice.user_id: [room]})
            self.same("direct", body())
            self.alice.say(room, "hello")
            self.same("message", body())
            await self.appear(self.alice, "displayname", "Alice the Great", room)
            self.same("display name", body())
            await self.appear(self.alice, "avatar_url", "mxc://hs.test/greater", room)
            self.same("hero avatar", body())
            carol = self.person("carol")
            self.alice.invite(room, carol)
            self.same("third", body())
            carol.join(room)
            self.same("third joins", body())
            other = self.nameless("Others", self.bob, carol)
            self.same("another room", body())
            self.bob.set_account_data("m.direct", {carol.user_id: [other]})
            self.same("another direct", body())
            self.alice.say(room, "one")
            self.alice.say(other, "two")
            self.same("messages", body())
            self.bob.set_account_data("m.direct", {})
            self.same("none direct", body())
            self.bob.set_account_data("m.direct", {carol.user_id: [other]})
            self.same_anew("direct, anew", body())
            carol.leave(room)
            self.alice.leave(room)
            self.same("alone", body())
            self.same_anew("anew", body())

    async def test_avatars(self) -> None:
        """A room's avatar is set, changed and removed; an alias is no name."""
        room = self.room("Kitchen", self.bob)
        with self.scenario("avatars"):
            self.same("none", body())
            self.alice.set_state(room, "m.room.avatar", {"url": "mxc://hs.test/kitchen"})
            self.same("set", body())
            self.alice.say(room, "hello")
            self.same("message", body())
            self.alice.set_state(room, "m.room.avatar", {"url": "mxc://hs.test/other"})
            self.same("changed", body(state=[*NAMED, AVATAR]))
            self.same_anew("anew", body(state=[*NAMED, AVATAR]))
            self.alice.set_state(room, "m.room.avatar", {})
            self.same("removed", body(state=[*NAMED, AVATAR]))
            self.alice.set_state(room, "m.room.name", {"name": "Hall"})
            self.same("renamed", body())

    async def test_subscriptions(self) -> None:
        """Several limits, a room in list and subscription, unsubscribing and coming back."""
        kitchen, hall, cellar = (self.room(name, self.bob) for name in ("Kitchen", "Hall", "Cellar"))
        for number in range(6):
            self.alice.say(cellar, f"cellar {number}")
            self.alice.say(kitchen, f"kitchen {number}")
        alone = {"conn_id": "pair"}
        with self.scenario("subscriptions"):
            self.same("none", alone)
            self.same("two limits", {**alone, "room_subscriptions": {hall: config(1), cellar: config(3)}})
            self.same("unsubscribed", {**alone, "room_subscriptions": {hall: config(1)}})
            self.alice.say(cellar, "unheard")
            self.alice.say(hall, "heard")
            self.same("messages", {**alone, "room_subscriptions": {hall: config(1)}})
            self.same("subscribed again", {**alone, "room_subscriptions": {hall: config(1), cellar: config(3)}})
            self.same("list and subscription", body(0, 1, [TOPIC], room_subscriptions={kitchen: config(4, [RULES])}))
            self.alice.say(kitchen, "in both")
            self.alice.set_state(kitchen, "m.room.topic", {"topic": "tea"})
            self.same("news in both", body(0, 1, [TOPIC], room_subscriptions={kitchen: config(4, [RULES])}))
            self.same("list only", body(0, 1, [TOPIC]))
            self.same("wider subscription", body(0, 1, [TOPIC], room_subscriptions={kitchen: config(9, [["*", "*"]])}))
            self.bob.leave(kitchen)
            self.same("left", body(0, 1, [TOPIC], room_subscriptions={kitchen: config(9, [["*", "*"]])}))
            foreign = self.room("Foreign")
            self.same("foreign", {**alone, "room_subscriptions": {foreign: config()}})
