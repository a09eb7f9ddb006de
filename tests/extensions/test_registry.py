"""The extensions by their names."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.extensions.core import Extended, Extension
from syncproxy.extensions.deliveries import Deliveries
from syncproxy.extensions.registry import factories
from syncproxy.extensions.sticky_events import STICKY_EVENTS
from syncproxy.protocol.request import ExtensionParams
from tests.extensions.fakes import PHONE, FakeReader, FakeUserCache, FakeWriter, context


class FactoriesTests(SynchronousTestCase):
    """What makes extensions for a connection."""

    def setUp(self) -> None:
        parts: tuple[Any, ...] = (FakeReader(), FakeWriter(), Clock(), b"key", "epoch", Deliveries())
        self.factories = factories(*parts)

    def _answer(self, extension: Extension) -> Extended:
        answer = extension.answer(ExtensionParams(), context(FakeUserCache()))
        extended: Extended = self.successResultOf(Deferred.fromCoroutine(answer))
        return extended

    def test_names(self) -> None:
        """All extensions of MSC3575 are there."""
        self.assertEqual(
            set(self.factories), {"to_device", "e2ee", "account_data", "receipts", "typing", STICKY_EVENTS}
        )

    def test_nothing_to_say(self) -> None:
        """With nothing there only to_device says something, which clients need from the start."""
        said = {name for name, make in self.factories.items() if self._answer(make(PHONE)).data is not None}
        self.assertEqual(said, {"to_device"})

    def test_one_instance_a_connection(self) -> None:
        """Each connection has extensions of its own."""
        for make in self.factories.values():
            self.assertIsNot(make(PHONE), make(PHONE))
