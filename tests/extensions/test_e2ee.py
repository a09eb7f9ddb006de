"""The e2ee extension."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.extensions.core import Extended
from syncproxy.extensions.e2ee import E2eeExtension, merged_device_lists
from syncproxy.protocol.request import ExtensionParams
from syncproxy.rooms.changes import DeviceFacts
from syncproxy.storage.work import AcknowledgeDeviceLists
from tests.extensions.fakes import BOB, CAROL, PHONE, FakeReader, FakeUserCache, FakeWriter, context


class E2eeTests(SynchronousTestCase):
    """Key counts, fallback types and device lists."""

    def setUp(self) -> None:
        self.reader, self.writer = FakeReader(), FakeWriter()
        self.user = FakeUserCache()
        parts: tuple[Any, ...] = (PHONE, self.reader, self.writer)
        self.extension = E2eeExtension(*parts)

    def _answer(self) -> Extended:
        answer = self.extension.answer(ExtensionParams(), context(self.user))
        extended: Extended = self.successResultOf(Deferred.fromCoroutine(answer))
        return extended

    def _told(self) -> Any:
        """What an answer tells, which is then acknowledged."""
        answer = self._answer()
        if answer.delta is not None:
            self.extension.fold(answer.delta)
        return None if answer.data is None else json.loads(answer.data)

    def _knows(self, counts: bytes | None = None, fallback: bytes | None = None, lists: int = 0) -> None:
        self.user.device = DeviceFacts(PHONE, counts, fallback, device_list_position=lists)

    def test_first_answer(self) -> None:
        """Counts and fallback types are in the first answer, empty ones too."""
        self._knows(b'{"signed_curve25519":50}', b"[]")
        self.assertEqual(
            self._told(),
            {"device_one_time_keys_count": {"signed_curve25519": 50}, "device_unused_fallback_key_types": []},
        )

    def test_unchanged(self) -> None:
        """What did not change is not repeated, whatever the order of its members."""
        self._knows(b'{"a":1,"b":2}', b"[]")
        self._told()
        self._knows(b'{"b":2,"a":1}', b"[]")
        self.assertIsNone(self._told())

    def test_compared_independently(self) -> None:
        """A changed count comes without the fallback types, and is news."""
        self._knows(b'{"a":1}', b"[]")
        self._told()
        self._knows(b'{"a":2}', b"[]")
        self.assertTrue(self._answer().news)
        self.assertEqual(self._told(), {"device_one_time_keys_count": {"a": 2}})

    def test_never_said(self) -> None:
        """What the homeserver never said is not made up."""
        self._knows(b"{}", None)
        self.assertEqual(self._told(), {"device_one_time_keys_count": {}})

    def test_lost_answer(self) -> None:
        """Counts of an answer that was not acknowledged are told again."""
        self._knows(b"{}", b"[]")
        self.assertEqual(self._answer(), self._answer())

    def test_device_lists(self) -> None:
        """Device-list changes come with both arrays."""
        self.reader.lists = [(7, BOB, "changed")]
        self._knows(lists=7)
        self.assertEqual(self._told(), {"device_lists": {"changed": [BOB], "left": []}})

    def test_forgotten_only_when_acknowledged(self) -> None:
        """Telling of changes deletes nothing; the acknowledged answer does."""
        self.reader.lists = [(7, BOB, "changed")]
        self._knows(lists=7)
        self._answer()
        self.assertEqual(self.writer.done, [])
        self._told()
        self.assertEqual(self.writer.done, [AcknowledgeDeviceLists(PHONE, 7)])

    def test_idle_reads_nothing(self) -> None:
        """After the changes were acknowledged the database is not asked again."""
        self.reader.lists = [(7, BOB, "changed")]
        self._knows(lists=7)
        self._told()
        self.assertEqual((self._answer(), self.reader.statements), (Extended(), 1))

    def test_only_later_changes(self) -> None:
        """What was acknowledged is not told again, though its row be still there."""
        self.reader.lists = [(7, BOB, "changed")]
        self._knows(lists=7)
        self._told()
        self.reader.lists.append((9, CAROL, "left"))
        self._knows(lists=9)
        self.assertEqual(self._told(), {"device_lists": {"changed": [], "left": [CAROL]}})

    def test_failed_acknowledgement(self) -> None:
        """An acknowledgement that cannot be stored is logged, and the connection goes on."""
        self.writer.problem = RuntimeError("no database")
        self.reader.lists = [(7, BOB, "changed")]
        self._knows(lists=7)
        self._told()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    @given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["changed", "left"]))))
    def test_last_change_counts(self, changes: list[tuple[str, str]]) -> None:
        """Merging leaves each user once, under the last thing that happened."""
        merged = json.loads(merged_device_lists(changes))
        told = {user: kind for kind, users in merged.items() for user in users}
        self.assertEqual((told, len(merged["changed"]) + len(merged["left"])), (dict(changes), len(dict(changes))))
