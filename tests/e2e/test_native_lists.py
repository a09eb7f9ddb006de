"""The proxy's answers and those of Synapse's own sliding sync are alike, save what the reference lists: lists."""

from __future__ import annotations

from tests.e2e.native_case import NativeCase, body, config
from tests.e2e.person import Json

ALGORITHM = {"algorithm": "m.megolm.v1.aes-sha2"}
ENCRYPTION = {"type": "m.room.encryption", "state_key": "", "content": ALGORITHM}


def filtered(**filters: Json) -> Json:
    """A request for a list of each of these filters."""
    lists = {key: {"ranges": [[0, 19]], **config(1, []), "filters": one} for key, one in filters.items()}
    return {"conn_id": "pair", "lists": lists}


class ListTests(NativeCase):
    """Each step of a session is asked of both."""

    async def test_filters(self) -> None:
        """Lists of direct messages, invites, encrypted rooms, spaces, and tags, as rooms come into them."""
        kitchen = self.room("Kitchen", self.bob, initial_state=[ENCRYPTION])
        hall = self.room("Hall", self.bob)
        self.room("House", self.bob, creation_content={"type": "m.space"})
        party = self.room("Party", initial_state=[ENCRYPTION])
        self.alice.invite(party, self.bob)
        self.bob.tag(hall, "m.favourite", {})
        asked = filtered(
            everything={},
            direct={"is_dm": True},
            not_direct={"is_dm": False},
            invites={"is_invite": True},
            not_invites={"is_invite": False},
            encrypted={"is_encrypted": True},
            plain={"is_encrypted": False},
            spaces={"room_types": ["m.space"]},
            not_spaces={"not_room_types": ["m.space"]},
            ordinary={"room_types": [None]},
            favourites={"tags": ["m.favourite"]},
            not_favourites={"not_tags": ["m.favourite"]},
            both={"is_dm": True, "is_encrypted": True},
        )
        with self.scenario("filters"):
            self.same("first", asked)
            self.bob.set_account_data("m.direct", {self.alice.user_id: [kitchen, party]})
            self.same("direct", asked)
            self.alice.set_state(hall, "m.room.encryption", ALGORITHM)
            self.same("encrypted", asked)
            self.bob.join(party)
            self.same("joined", asked)
            self.bob.tag(hall, "m.favourite", None)
            self.bob.tag(kitchen, "m.favourite", {})
            self.same("tags", asked)
            self.bob.leave(hall)
            self.same("left", asked)

    async def test_ranges(self) -> None:
        """Windows that slide, in two lists, while rooms move."""
        rooms = [self.room(f"Room {number}", self.bob) for number in range(5)]

        def asked(*ranges: list[int]) -> Json:
            one = {"ranges": [ranges[0]], **config(1, [])}
            return {"conn_id": "pair", "lists": {"one": one, "two": {**one, "ranges": [ranges[-1]]}}}

        with self.scenario("ranges"):
            self.same("top", asked([0, 1]))
            self.alice.say(rooms[0], "rises")
            self.same("rises", asked([0, 1]))
            self.same("two lists", asked([0, 1], [2, 3]))
            self.alice.say(rooms[3], "moves up")
            self.same("moves up", asked([0, 1], [2, 3]))
            self.alice.set_state(rooms[1], "m.room.topic", {"topic": "tea"})
            self.same("state", asked([0, 1], [2, 3]))
            self.bob.leave(rooms[0])
            self.same("left", asked([0, 1], [2, 3]))
            self.same("beyond", asked([0, 1], [7, 9]))

    async def test_timelines(self) -> None:
        """More than the limit, edits, reactions, redactions, lazily loaded members, all of them, no timeline."""
        kitchen = self.room("Kitchen", self.bob)
        carol, dave = self.people("carol", "dave")
        with self.scenario("timelines"):
            self.same("first", body())
            for one in (carol, dave):
                one.join(kitchen)
            self.same("joins", body())
            said = [carol.say(kitchen, f"number {number}") for number in range(8)]
            self.same("limited", body())
            edit = {"rel_type": "m.replace", "event_id": said[-1]}
            carol.say(kitchen, "* edited", **{"m.new_content": {"body": "edited"}, "m.relates_to": edit})
            self.same("edit", body())
            dave.react(kitchen, said[-1], "+1")
            self.same("reaction", body())
            carol.redact(kitchen, said[-2])
            self.same("redaction", body())
            self.same("longer", body(limit=12))
            await self.appear(carol, "displayname", "Carol the Second", kitchen)
            self.same("renamed member", body())
            dave.leave(kitchen)
            for number in range(7):
                carol.say(kitchen, f"more {number}")
            self.same("leave behind a gap", body(limit=3))
            self.same("all members", body(limit=3, state=[["m.room.member", "*"]]))
            dave.join(kitchen)
            self.same("no timeline", body(limit=0, state=[["m.room.member", "*"]]))
            self.same("everything", body(limit=0, state=[["*", "*"]]))

    async def test_state(self) -> None:
        """Each way to ask for state, narrower and wider, in two lists and beside them."""
        kitchen = self.room("Kitchen", self.bob)
        carol, dave = self.people("carol", "dave")
        for one in (carol, dave):
            one.join(kitchen)
        self.alice.set_state(kitchen, "test.state", {"n": 1}, "a")
        self.alice.set_state(kitchen, "test.state", {"n": 1}, "b")
        ways = {
            "nothing": [],
            "own member": [["m.room.member", "$ME"]],
            "named member": [["m.room.member", carol.user_id]],
            "a key": [["test.state", "a"]],
            "all keys": [["test.state", "*"]],
            "lazy members": [["m.room.member", "$LAZY"]],
            "lazy and all": [["*", "*"], ["m.room.member", "$LAZY"]],
            "everything": [["*", "*"]],
        }
        with self.scenario("state"):
            for way, state in ways.items():
                self.same_anew(f"{way}, first", body(limit=1, state=state))
                self.alice.set_state(kitchen, "test.state", {"n": way}, "a")
                self.same(f"{way}, changed", body(limit=1, state=state))
                dave.set_state(kitchen, "m.room.member", {"membership": "join", "displayname": way}, dave.user_id)
                self.same(f"{way}, member changed", body(limit=1, state=state))
                self.alice.set_state(kitchen, "test.state", {"n": way}, "b")
                carol.say(kitchen, "hello")
                self.same(f"{way}, behind a gap", body(limit=1, state=state))
            self.same_anew("two lists", self.both(2, ways["a key"], 4, ways["own member"]))
            self.alice.set_state(kitchen, "test.state", {"n": 0}, "a")
            self.same("changed in two lists", self.both(2, ways["a key"], 4, ways["own member"]))
            self.same("other way round", self.both(4, ways["own member"], 2, ways["a key"]))
            self.same("more in one", self.both(4, ways["all keys"], 2, ways["a key"]))

    def both(self, limit: int, state: list[list[str]], other_limit: int, other_state: list[list[str]]) -> Json:
        """A request for the same rooms in two lists."""
        one, two = config(limit, state), config(other_limit, other_state)
        return {"conn_id": "pair", "lists": {key: {"ranges": [[0, 9]], **how} for key, how in (("a", one), ("b", two))}}

    async def test_subscribed_stays(self) -> None:
        """Subscriptions to rooms that Bob is invited to, knocks on, left and was put out of, then a list of them."""
        party, club, den, bar, gym = (self.room(name) for name in ("Party", "Club", "Den", "Bar", "Gym"))
        self.alice.set_state(club, "m.room.join_rules", {"join_rule": "knock"})
        for room in (den, bar, gym):
            self.bob.join(room)
            self.alice.say(room, "welcome")
        rooms = (party, club, den, bar, gym)
        asked = {"conn_id": "pair", "room_subscriptions": {room: config(3, [["*", "*"]]) for room in rooms}}
        with self.scenario("subscribed stays"):
            self.same("first", asked)
            self.alice.invite(party, self.bob)
            self.bob.knock(club)
            self.same("asked", asked)
            self.bob.leave(den)
            self.alice.kick(bar, self.bob)
            self.alice.ban(gym, self.bob)
            self.same("out", asked)
            for room in (den, bar, gym):
                self.alice.say(room, "secret")
                self.alice.set_state(room, "m.room.name", {"name": "Secret"})
            self.same("behind his back", asked)
            self.same_anew("anew", asked)
            self.same("longer", {**asked, "room_subscriptions": {room: config(9, [["*", "*"]]) for room in rooms}})
            self.same("listed", {**body(limit=2), "room_subscriptions": {}})
