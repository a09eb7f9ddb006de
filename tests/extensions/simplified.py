"""One extension on a connection of MSC4186, which may be kept in a database and found again."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.connection.packing import Snapshot, joined, packed, unpacked
from syncproxy.dialects.msc4186_semantics import SIMPLIFIED
from syncproxy.extensions.core import Extended
from syncproxy.protocol.request import ExtensionParams
from tests.extensions.fakes import ALICE, FakeGlobalCache, FakeUserCache, context


class Talk:
    """A client that asks for one extension, and what is kept of the connection with each answer."""

    def __init__(self, test: SynchronousTestCase, make: Callable[[], Any], user: FakeUserCache) -> None:
        self._test = test
        self._make = make
        self.user = user
        self.cache = FakeGlobalCache()
        self.extension = make()
        self._kept = Snapshot(0, {})
        #: rooms that the client has
        self.sent: set[str] = set()
        self._unheard: object = None

    def lost(self, params: ExtensionParams | None = None, **moment: Any) -> Extended:
        """An answer that the client never sees."""
        more = {"rules": SIMPLIFIED.extensions, "sent": self.sent, "unheard": self._unheard, **moment}
        answer = self.extension.answer(params or ExtensionParams(), context(self.user, self.cache, **more))
        extended: Extended = self._test.successResultOf(Deferred.fromCoroutine(answer))
        return extended

    def answer(self, params: ExtensionParams | None = None, **moment: Any) -> Extended:
        """An answer that the client has."""
        extended = self.lost(params, **moment)
        self._unheard = None
        if extended.delta is not None:
            delta = Snapshot(1, {}, extensions={"x": self.extension.packed(extended.delta)})
            self._kept = joined(self._kept, unpacked(packed(delta), ALICE))
            self.extension.fold(extended.delta)
        self.sent |= moment.get("rooms", {}).keys()
        return extended

    def told(self, params: ExtensionParams | None = None, **moment: Any) -> Any:
        """The data of an answer that the client has."""
        data = self.answer(params, **moment).data
        return None if data is None else json.loads(data)

    def restarted(self, *, folded: bool = False) -> None:
        """The proxy starts again, and finds what each answer added, or the whole."""
        kept = self._kept
        if folded:
            kept = unpacked(packed(Snapshot(1, {}, extensions={"x": self.extension.packed(None)})), ALICE)
        self.extension = self._make()
        self.extension.restore(kept.extensions.get("x", {}))
        self._unheard = object()
