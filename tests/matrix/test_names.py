"""Room names, heroes and avatars: the table of rooms.md, row by row."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.matrix.names import Hero, heroes_for, room_avatar, room_name

READER = "@me:hs"
NAMES = ("Alice", "Bob", "Charlie", "Dora", "Eve")


def hero(name: str | None, membership: str = "join", *, user_id: str | None = None, avatar: str | None = None) -> Hero:
    return Hero(user_id or f"@{(name or 'x').lower()}:hs", membership, name, avatar)


def computed(*heroes: Hero, joined: int | None = None, invited: int = 0) -> str:
    return room_name(
        None, None, heroes, joined_count=len(heroes) + 1 if joined is None else joined, invited_count=invited
    ).name


class RoomNameTests(SynchronousTestCase):
    """What a room is called."""

    def test_own_name_wins(self) -> None:
        """`m.room.name` goes before the alias and the heroes."""
        name = room_name("Den", "#den:hs", (hero("Alice"),), joined_count=2, invited_count=0)
        self.assertEqual((name.name, name.computed), ("Den", False))

    def test_alias_is_next(self) -> None:
        """A room without a name, or with an empty one, goes by its canonical alias."""
        name = room_name("", "#den:hs", (hero("Alice"),), joined_count=2, invited_count=0)
        self.assertEqual((name.name, name.computed), ("#den:hs", False))

    def test_one_other(self) -> None:
        """A room for two is called by the other one."""
        self.assertEqual(computed(hero("Alice")), "Alice")

    def test_two_others(self) -> None:
        """Two names are joined by "and"."""
        self.assertEqual(computed(hero("Alice"), hero("Bob")), "Alice and Bob")

    def test_three_others(self) -> None:
        """More names are separated by commas, the last by "and"."""
        self.assertEqual(computed(hero("Alice"), hero("Bob"), hero("Charlie")), "Alice, Bob and Charlie")

    def test_members_beyond_the_heroes_are_counted(self) -> None:
        """Those who are no heroes are "others"."""
        heroes = tuple(map(hero, NAMES))
        self.assertEqual(computed(*heroes, joined=48), "Alice, Bob, Charlie, Dora, Eve and 42 others")

    def test_invited_members_are_others_too(self) -> None:
        """The invited count like the joined."""
        self.assertEqual(computed(hero("Alice"), joined=2, invited=3), "Alice and 3 others")

    def test_nobody_left(self) -> None:
        """A room that everybody else left is empty, and says whose it was."""
        self.assertEqual(computed(hero("Alice", "leave"), joined=1), "Empty Room (was Alice)")

    def test_several_who_left(self) -> None:
        """All who left are named."""
        gone = (hero("Alice", "leave"), hero("Bob", "ban"))
        self.assertEqual(computed(*gone, joined=1), "Empty Room (was Alice and Bob)")

    def test_nobody_ever(self) -> None:
        """A room without anybody else is empty."""
        self.assertEqual(computed(joined=1), "Empty Room")

    def test_nobody_known(self) -> None:
        """A room whose other members are unknown has no better name."""
        self.assertEqual(computed(joined=7), "Empty Room")

    def test_who_left_is_not_named_while_others_are_there(self) -> None:
        """Heroes who left make no name as long as somebody is left."""
        self.assertEqual(computed(hero("Alice"), hero("Bob", "leave"), joined=2), "Alice")

    def test_without_a_display_name_the_user_id_serves(self) -> None:
        """An absent or empty display name gives way to the user id."""
        self.assertEqual(computed(hero(None, user_id="@a:hs"), hero("", user_id="@b:hs")), "@a:hs and @b:hs")

    def test_two_alike_are_told_apart(self) -> None:
        """Two of one name carry their user ids, others do not."""
        heroes = (hero("Ann", user_id="@a:hs"), hero("Ann", user_id="@b:hs"), hero("Bob"))
        self.assertEqual(computed(*heroes), "Ann (@a:hs), Ann (@b:hs) and Bob")

    def test_without_counts_the_heroes_tell_who_is_there(self) -> None:
        """No known counts: joined heroes make a name, heroes who left an empty room."""
        self.assertEqual(computed(hero("Alice"), joined=0), "Alice")
        self.assertEqual(computed(hero("Alice", "leave"), joined=0), "Empty Room (was Alice)")

    @given(st.lists(st.sampled_from(NAMES), max_size=5, unique=True), st.integers(0, 100))
    def test_every_present_hero_is_named(self, names: list[str], beyond: int) -> None:
        """Whatever the counts, each joined hero is in the name, and with those beyond them it adds up."""
        name = computed(*map(hero, names), joined=len(names) + 1 + beyond)
        self.assertTrue(all(part in name for part in names))
        if names and beyond:
            self.assertTrue(name.endswith(f" and {beyond} others"))


class HeroesTests(SynchronousTestCase):
    """By whom a room is called."""

    def test_reader_is_no_hero(self) -> None:
        """The reader is left out, the others keep their order."""
        heroes = (hero("Alice"), Hero(READER, "join"), hero("Bob"))
        self.assertEqual([h.displayname for h in heroes_for(READER, heroes)], ["Alice", "Bob"])

    def test_five_at_most(self) -> None:
        """Of six others the first five are heroes."""
        heroes = [hero(name) for name in (*NAMES, "Fred")]
        self.assertEqual([h.displayname for h in heroes_for(READER, heroes)], list(NAMES))


class AvatarTests(SynchronousTestCase):
    """What a room looks like."""

    def test_own_avatar_wins(self) -> None:
        """`m.room.avatar` goes before a hero's, in a DM too."""
        self.assertEqual(room_avatar("mxc://room", [hero("A", avatar="mxc://a")], is_dm=True), "mxc://room")

    def test_dm_looks_like_its_hero(self) -> None:
        """A DM with exactly one joined or invited hero has that hero's avatar."""
        for membership in ("join", "invite"):
            self.assertEqual(room_avatar(None, [hero("A", membership, avatar="mxc://a")], is_dm=True), "mxc://a")

    def test_who_left_lends_no_avatar(self) -> None:
        """Heroes who left neither lend an avatar nor count."""
        gone = hero("B", "leave", avatar="mxc://b")
        self.assertIsNone(room_avatar(None, [gone], is_dm=True))
        self.assertEqual(room_avatar(None, [gone, hero("A", avatar="mxc://a")], is_dm=True), "mxc://a")

    def test_two_heroes_lend_none(self) -> None:
        """With two heroes nobody's avatar stands for the room."""
        self.assertIsNone(room_avatar("", [hero("A", avatar="x"), hero("B", avatar="y")], is_dm=True))

    def test_other_rooms_lend_none(self) -> None:
        """A room that is no DM has its own avatar or none."""
        self.assertIsNone(room_avatar(None, [hero("A", avatar="x")], is_dm=False))
