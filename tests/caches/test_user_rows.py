"""One user's rows, packed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.caches.user_rows import UserRows
from syncproxy.matrix.events import StoredEvent
from syncproxy.matrix.names import Hero
from syncproxy.rooms.summary import FrozenFacts
from syncproxy.rooms.user_room import UserRoom

ALICE = "@alice:hs"
LEFT = UserRoom(
    ALICE,
    "!r",
    "leave",
    leave_event=StoredEvent(9, "$9", "m.room.member", ALICE, 77, b'{"a":"\xc3\xa9"}', ALICE, "leave"),
    frozen=FrozenFacts(name="Den", heroes=(Hero("@bob:hs", "join", "Bob"),)),
    stripped_state=b"[]",
    previous="join",
)


def values(kind: str) -> st.SearchStrategy[object]:
    """What a field of this type may be."""
    kinds: dict[str, st.SearchStrategy[object]] = {
        "int": st.integers(-(2**63), 2**63 - 1),
        "bool": st.booleans(),
        "str": st.text(),
        "str | None": st.none() | st.text(),
        "bytes": st.binary(),
        "StoredEvent | None": st.sampled_from([None, LEFT.leave_event]),
        "FrozenFacts | None": st.sampled_from([None, LEFT.frozen]),
    }
    return kinds[kind]


rows = st.builds(UserRoom, **{name: values(kind) for name, kind in UserRoom.__annotations__.items()})


class UserRowsTests(SynchronousTestCase):
    """What goes in comes out."""

    def setUp(self) -> None:
        """No rows."""
        self.rows = UserRows(ALICE)

    @given(rows)
    def test_any_row_comes_back(self, row: UserRoom) -> None:
        """A row is found by its room as it was put in, whatever it has."""
        row = replace(row, user_id=ALICE)
        self.rows.put(row)
        self.assertEqual(self.rows[row.room_id], row)
        self.assertEqual(self.rows.of(row.room_id), row)

    def test_newest_row_of_a_room(self) -> None:
        """A room has one row: the one that was put in last."""
        self.rows.put(replace(LEFT, membership="join"))
        self.assertEqual(self.rows["!r"].membership, "join")
        self.rows.put(LEFT)
        self.assertEqual(dict(self.rows), {"!r": LEFT})

    def test_rows_of_two_users(self) -> None:
        """Rows that are alike but for their user are told apart."""
        others = UserRows("@bob:hs")
        self.rows.put(LEFT)
        others.put(replace(LEFT, user_id="@bob:hs"))
        self.assertEqual((self.rows["!r"].user_id, others["!r"].user_id), (ALICE, "@bob:hs"))

    def test_more_than_are_kept_unpacked(self) -> None:
        """However many rows are looked at, of several users, each is found again."""
        users = {ALICE: self.rows, "@bob:hs": UserRows("@bob:hs")}
        expected = {user_id: [UserRoom(user_id, f"!r{n}", "join", join_ts=n) for n in range(3000)] for user_id in users}
        for user_id, rows in expected.items():
            for row in rows:
                users[user_id].put(row)
        for _ in range(2):
            found = {user_id: list(rows.values()) for user_id, rows in users.items()}
            self.assertEqual(found, expected)

    def test_unknown_room(self) -> None:
        """A room without a row is not found."""
        self.rows.put(LEFT)
        self.assertIsNone(self.rows.of("!other"))
        self.assertNotIn("!other", self.rows)
        self.assertRaises(KeyError, lambda: self.rows["!other"])
        self.assertEqual(list(self.rows), ["!r"])
