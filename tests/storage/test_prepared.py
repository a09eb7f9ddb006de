"""Prepared statements get what they are called with, whatever is in it."""

from __future__ import annotations

import psycopg2
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.storage.prepared import ROWS_AT_A_TIME, Prepared, PreparedRows
from tests.postgres import drop_database, fresh_database

_TEXTS = st.none() | st.text(st.characters(exclude_characters="\x00", codec="utf-8"))
_KINDS = (
    _TEXTS | st.sampled_from(("NULL", "", "a,b", '{"}', "\\", "'\\'")),
    st.none() | st.binary(),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.booleans(),
)
_ROW = st.tuples(*_KINDS)
_COLUMNS = st.tuples(*map(st.lists, _KINDS))


class PreparedTests(SynchronousTestCase):
    """Calls, as the database understands them."""

    everything = Prepared("everything", "SELECT %s::text[], %s::bytea[], %s::bigint[], %s::boolean[]")
    texts = PreparedRows("texts", "SELECT * FROM unnest(%s::text[], %s::bigint[])")
    row = PreparedRows(
        "row", "SELECT q.* FROM unnest(%s::text[], %s::bytea[], %s::bigint[], %s::boolean[]) q(a, b, c, d)"
    )

    def setUp(self) -> None:
        """Prepare them."""
        conninfo = fresh_database()
        self.addCleanup(drop_database, conninfo)
        connection = psycopg2.connect(conninfo)
        self.addCleanup(connection.close)
        connection.autocommit = True
        self.cursor = connection.cursor()
        self.addCleanup(self.cursor.close)
        self.cursor.execute(f"{self.everything.preparation}; {self.texts.preparation}; {self.row.preparation}")

    def test_arrays(self) -> None:
        """Texts, bytes, numbers, booleans and nulls arrive as they are."""

        @given(_COLUMNS)
        def arrive(columns: tuple[list[object], ...]) -> None:
            self.cursor.execute(*self.everything.call(columns))
            texts, data, *others = self.cursor.fetchone() or ()
            data = [None if one is None else bytes(one) for one in data]
            self.assertEqual((texts, data, *others), columns)

        arrive()

    def test_one_row(self) -> None:
        """What a row alone has arrives as it is, too, though it goes another way."""

        @given(_ROW)
        def arrive(row: tuple[object, ...]) -> None:
            (statement,) = self.row.bulk([row])
            self.cursor.execute(*statement)
            ((text, data, *others),) = self.cursor.fetchall()
            self.assertEqual((text, None if data is None else bytes(data), *others), row)

        arrive()
        self.assertNotIn("unnest", self.row.of_one.sql)

    def test_many_rows(self) -> None:
        """Rows go some at a time, in order, and no rows are no statement."""
        rows = [(f"row {number}", number) for number in range(2 * ROWS_AT_A_TIME + 1)]
        arrived = []
        for statement in self.texts.bulk(rows):
            self.cursor.execute(*statement)
            arrived.append(self.cursor.fetchall())
        self.assertEqual([len(some) for some in arrived], [ROWS_AT_A_TIME, ROWS_AT_A_TIME, 1])
        self.assertEqual([row for some in arrived for row in some], rows)
        self.assertEqual(list(self.texts.bulk([])), [])

    def test_what_no_text_can_be(self) -> None:
        """NUL is refused before the database is asked, and half a character, too."""
        for text in ("\x00", "\ud800"):
            with self.assertRaises(ValueError):
                self.cursor.mogrify(*self.texts.call([[text], [1]]))
            with self.assertRaises(ValueError):
                self.cursor.mogrify(*next(self.texts.bulk([(text, 1)])))
