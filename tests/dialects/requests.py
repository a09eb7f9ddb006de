"""Requests as MSC3575 clients send them, and what becomes of them."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.dialects.msc3575 import MSC3575
from syncproxy.errors import BadJson, InvalidParam, MatrixError, NotJson
from syncproxy.protocol.request import ExtensionParams, ListParams, Request, SubscriptionParams

ROOM = "!r:hs"


def parsed(body: Any, **query: str) -> Request:
    """The request with this JSON as its body."""
    return MSC3575.parse(msgspec.json.encode(body), query)


def parsed_list(**members: Any) -> ListParams:
    """The list with these members."""
    return parsed({"lists": {"a": members}}).lists["a"]


def parsed_room(**members: Any) -> SubscriptionParams:
    """The subscription with these members."""
    return parsed({"room_subscriptions": {ROOM: members}}).room_subscriptions[ROOM]


def parsed_extension(**members: Any) -> ExtensionParams:
    """The extension with these members."""
    return parsed({"extensions": {"to_device": members}}).extensions["to_device"]


class RefusalTestCase(SynchronousTestCase):
    """A test case that knows how requests are refused."""

    def assert_refused(self, kind: type[MatrixError], body: Any, *names: str, **query: str) -> None:
        """It is refused as the specification says, and the message has the names in it."""
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        problem = self.assertRaises(kind, MSC3575.parse, content, query)
        errcodes = {NotJson: "M_NOT_JSON", BadJson: "M_BAD_JSON", InvalidParam: "M_INVALID_PARAM"}
        self.assertEqual((problem.status, problem.errcode), (400, errcodes[kind]))
        for name in names:
            self.assertIn(name, problem.message)
