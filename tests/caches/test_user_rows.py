"""One user's rows, packed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.caches.user_rows import UserRows
from syncproxy.matrix.events import StoredEvent
from syncproxy.matrix.names import Hero
from syncproxy.rooms.joined_rows import joined_record
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
#: rows of joined rooms as they are, or almost
joined_rows = st.builds(
    UserRoom,
    st.just(ALICE),
    st.sampled_from(["!a", "!b", "!c", "!d"]),
    st.sampled_from(["join", "join", "leave"]),
    **dict.fromkeys(("membership_nid", "visible_from", "handed_from", "counts_nid"), st.sampled_from([0, 7, 1 << 32])),
    **dict.fromkeys(("notification_count", "highlight_count"), st.sampled_from([0, 3, 70_000])),
    **dict.fromkeys(("join_ts", "sort_ts", "recency"), st.sampled_from([0, 1_764_365_000_000, -1, 1 << 62])),
    **dict.fromkeys(("unplaced", "to_come", "unsure", "contradicted", "removed", "is_direct"), st.booleans()),
    previous=st.sampled_from([None, "invite", "join", "leave", "ban", "knock", "unknown"]),
    invite_ts=st.sampled_from([0, 0, 5]),
)


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

    @given(st.lists(joined_rows))
    def test_many_rows(self, put: list[UserRoom]) -> None:
        """Of each room the row that came last is found, those of joined rooms among others; the rooms are in order."""
        kept, expected = UserRows(ALICE), dict[str, UserRoom]()
        for row in put:
            kept.put(row)
            expected[row.room_id] = row
            self.assertEqual(kept.of(row.room_id), row)
        self.assertEqual(list(kept.items()), sorted(expected.items()))
        self.assertEqual([room_id in kept for room_id in ("!a", "!e")], ["!a" in expected, False])

    def test_size(self) -> None:
        """The row of a joined room takes 46 bytes; another has no record."""
        row = UserRoom(ALICE, "!r", "join", 7, 7, handed_from=7, counts_nid=9, join_ts=1 << 40, recency=1 << 40)
        self.assertEqual(len(joined_record(row) or b""), 46)
        self.assertIsNone(joined_record(LEFT))

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
        expected = {
            user_id: [UserRoom(user_id, f"!r{n:04}", "join", join_ts=n) for n in range(3000)] for user_id in users
        }
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
