"""What the extensions say together."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.connection.extension_part import ExtensionsAnswer, extensions_answer
from syncproxy.connection.params import Params
from syncproxy.extensions.core import Context, Extended, Extension
from syncproxy.metrics import Metrics
from syncproxy.protocol.request import ExtensionParams
from syncproxy.turns import Turn


class Noted:
    """An extension that notes that it was asked."""

    def __init__(self, name: str, asked: list[str]) -> None:
        self._name = name
        self._asked = asked

    async def answer(self, params: ExtensionParams, context: Context) -> Extended:
        """Its name."""
        self._asked.append(self._name)
        return Extended(self._name.encode(), news=True)

    def fold(self, delta: Any) -> None:
        """It has no state."""


class PauseTests(SynchronousTestCase):
    """Extensions that have much to do."""

    def setUp(self) -> None:
        """A reactor whose slices are always used up."""
        self.clock = Clock()
        self.asked: list[str] = []

    def answering(self, *names: str) -> Deferred[ExtensionsAnswer]:
        """What these say."""
        extensions = {name: cast(Extension, Noted(name, self.asked)) for name in names}
        params = Params(extensions=dict.fromkeys(names, ExtensionParams(enabled=True)))
        turn = Turn(self.clock, slice_s=0)
        return ensureDeferred(extensions_answer(extensions, params, cast(Context, None), Metrics(), turn))

    def test_between(self) -> None:
        """The reactor has a turn of its own before the next is asked."""
        answering = self.answering("receipts", "typing")
        self.assertEqual(["receipts"], self.asked)
        self.clock.advance(0)
        self.assertEqual({"receipts": b"receipts", "typing": b"typing"}, self.successResultOf(answering).data)

    def test_after_the_last(self) -> None:
        """And before the answer is put together."""
        answering = self.answering("receipts")
        self.assertNoResult(answering)
        self.clock.advance(0)
        self.assertTrue(self.successResultOf(answering).news)
