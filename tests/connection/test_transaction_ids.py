"""Transaction ids, put back into events for the device that sent them."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.connection.transaction_ids import with_transaction_id


class TransactionIdTests(SynchronousTestCase):
    """Events are bytes, and stay so."""

    def test_event_without_unsigned(self) -> None:
        """`unsigned` is made where there is none."""
        event = json.loads(with_transaction_id(b'{"type":"m"}', "t"))
        self.assertEqual(event, {"type": "m", "unsigned": {"transaction_id": "t"}})

    def test_other_unsigned_members_stay(self) -> None:
        """What else `unsigned` holds is kept."""
        event = json.loads(with_transaction_id(b'{"unsigned": {"age": 7, "transaction_id": "old"}}', "t"))
        self.assertEqual(event["unsigned"], {"age": 7, "transaction_id": "t"})

    def test_unsigned_that_is_no_object(self) -> None:
        """A malformed `unsigned` is replaced."""
        for malformed in (b"null", b"7", b"[1]", b'"{"'):
            event = json.loads(with_transaction_id(b'{"unsigned":%b}' % malformed, "t"))
            self.assertEqual(event["unsigned"], {"transaction_id": "t"})

    def test_bytes_of_the_rest_stay(self) -> None:
        """Numbers that Python would write otherwise, escapes and spaces are as they were."""
        content = b'{"n": 1.0e2, "s": "\\u00e9",  "big": 12345678901234567890123}'
        self.assertIn(content, with_transaction_id(b'{"content":%b}' % content, "t"))
