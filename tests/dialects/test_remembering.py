"""Bodies that are read once."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.dialects.msc3575 import MSC3575, Msc3575
from syncproxy.dialects.msc4186_unstable import MSC4186_UNSTABLE
from syncproxy.dialects.remembering import Remembering
from syncproxy.errors import BadJson
from syncproxy.protocol.request import Request

BODY = b'{"lists":{"a":{"ranges":[[0,9]]}},"txn_id":"t"}'


class Counting(Msc3575):
    """Counts what it reads."""

    count = 0

    def parse(self, body: bytes, query: Mapping[str, str]) -> Request:
        type(self).count += 1
        return super().parse(body, query)


class RememberingTests(SynchronousTestCase):
    """A client's requests, one after the other."""

    def setUp(self) -> None:
        self.counting = Counting()
        self.dialect = Remembering(self.counting)
        Counting.count = 0

    def test_same_meaning(self) -> None:
        """A request means what it would mean without, whatever was read before."""
        queries = (
            {"pos": "1", "timeout": "5"},
            {"pos": "2", "timeout": "5"},
            {"timeout": "5"},
            {"pos": "", "timeout": "6"},
        )
        for dialect in (MSC3575, MSC4186_UNSTABLE):
            remembering = Remembering(dialect)
            for query in (*queries, *queries, {"set_presence": "online"}):
                self.assertEqual(remembering.parse(BODY, query), dialect.parse(BODY, query))

    def test_read_once(self) -> None:
        """The same body is read once, whatever its position."""
        for pos in ("1", "2", "3"):
            self.dialect.parse(BODY, {"pos": pos})
        self.assertEqual(Counting.count, 1)

    def test_long_bodies_are_not_kept(self) -> None:
        """A long body is read each time: what is remembered stays small."""
        body = b'{"conn_id":"a"%b}' % (b" " * 5000)
        for _ in range(2):
            self.dialect.parse(body, {})
        self.assertEqual(Counting.count, 2)

    def test_errors_are_not_remembered(self) -> None:
        """What is refused is refused each time."""
        for _ in range(2):
            self.assertRaises(BadJson, self.dialect.parse, b"[]", {})
