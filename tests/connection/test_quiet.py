"""Requests to which there is nothing new: answered at once, or held without a look."""

from __future__ import annotations

from typing import Any

import attrs
from msgspec.structs import replace
from twisted.internet.defer import Deferred

from syncproxy.caches.updates import UserMark
from syncproxy.dialects.msc4186_unstable import MSC4186_UNSTABLE
from syncproxy.errors import UnknownPos
from syncproxy.extensions.core import Context, Extended
from syncproxy.protocol.request import ExtensionParams
from syncproxy.protocol.response import Answer
from tests.caches.fakes import ALICE, PHONE
from tests.connection.cases import ConnCase
from tests.connection.fakes import Client, Notebook, asked, listed
from tests.connection.simplified import SimplifiedCase

SAID: dict[str, Any] = {"lists": listed()}


@attrs.define(eq=False)
class Silent:
    """An extension that counts how often it is asked; `says` is what it says, unless it `fails`."""

    says: Extended = Extended()
    fails: bool = False
    asked: int = 0

    async def answer(self, params: ExtensionParams, context: Context) -> Extended:
        self.asked += 1
        if self.fails:
            raise RuntimeError("a bug")
        return self.says

    def fold(self, delta: Any) -> None:
        """It has no state."""


class QuietCase(ConnCase):
    """A client that has two rooms, and an extension that has nothing to say."""

    def setUp(self) -> None:
        super().setUp()
        self.silent = Silent()
        self.stage.factories = {"silent": lambda device: self.silent}
        self.client = Client(self.stage, self.stage.conn())
        self.stage.rooms("!a", "!b")
        self.said = {**SAID, "extensions": {"silent": ExtensionParams(enabled=True)}}
        self.sync(**self.said)

    def at_once(self, **said: Any) -> Answer | None:
        """What is answered at once."""
        request = asked(**{"pos": self.client.pos, **self.said, **said})
        body = self.client.conn.at_once(request, self.client.notebook)
        if body is None:
            return None
        answer = self.client.notebook.answers[body]
        self.client.pos = answer.pos
        return answer

    def settle(self) -> None:
        """From here on there is nothing new."""
        for _ in range(2):
            self.sync(**self.said)


class AtOnceTests(QuietCase):
    """Without a timeout."""

    def test_nothing_new(self) -> None:
        """The second request with nothing new gets the same answer as the first, with the next position."""
        first, second, third = self.sync(**self.said), self.sync(**self.said), self.at_once()
        assert third is not None
        self.assertEqual(replace(third, pos=""), replace(second, pos=""))
        self.assertEqual(len({first.pos, second.pos, third.pos}), 3)

    def test_as_often_as_it_is_asked(self) -> None:
        """It goes on, and nothing is looked at."""
        self.settle()
        before = self.silent.asked
        self.assertTrue(all(self.at_once() for _ in range(3)))
        self.assertEqual(self.silent.asked, before)

    def test_first_answer_is_not_repeated(self) -> None:
        """What told something is never told again."""
        self.assertIsNone(self.at_once())

    def test_event(self) -> None:
        """What happens is told by the next answer, and the one after it is not made at once."""
        self.settle()
        message = self.stage.message("!a")
        self.assertIsNone(self.at_once())
        self.assertEqual(self.sync(**self.said).rooms["!a"].timeline_ids, [message])
        self.assertIsNone(self.at_once())

    def test_event_elsewhere(self) -> None:
        """Something that is not shown has to be looked at, once."""
        self.said = {"lists": listed((0, 0))}
        self.settle()
        self.stage.datum("m.tag", {"tags": {}}, "!a")
        self.assertIsNone(self.at_once())
        self.settle()
        self.assertIsNotNone(self.at_once())

    def test_user_is_marked(self) -> None:
        """Whatever the user's cache tells makes it look."""
        self.settle()
        self.client.conn.mark_user(UserMark.DEVICE_LISTS)
        self.assertIsNone(self.at_once())

    def test_counts_live_events_from_then_on(self) -> None:
        """What happened before an answer that was made at once is not live in the next, wherever it happened."""
        self.said = {"lists": listed((0, 0))}
        self.settle()
        self.stage.room("!hidden", "@bob:example.org")
        self.assertIsNotNone(self.at_once())
        self.assertIsNotNone(self.at_once())
        state = self.client.conn._state
        self.assertEqual(state._position, self.stage.users.get(ALICE).position())  # type: ignore[union-attr]

    def test_another_request(self) -> None:
        """What asks for something else is looked at; so is what is willing to wait, or of another dialect."""
        self.settle()
        self.assertIsNone(self.at_once(lists=listed((0, 0))))
        self.assertIsNone(self.at_once(timeout_s=1))
        request = asked(pos=self.client.pos, **self.said)
        self.assertIsNone(self.client.conn.at_once(request, Notebook(MSC4186_UNSTABLE)))

    def test_transaction_id(self) -> None:
        """The answer has the request's own `txn_id`."""
        self.settle()
        told = [answer.txn_id for answer in (self.at_once(txn_id="t"), self.at_once()) if answer is not None]
        self.assertEqual(told, ["t", None])

    def test_lost_answer(self) -> None:
        """A repeat of the request before is no new request; once it came through, it goes on."""
        self.settle()
        before, lost = self.client.pos, self.at_once()
        assert lost is not None
        self.assertIsNone(self.at_once(pos=before))
        again = self.client.send(pos=before, **self.said)
        self.stage.clock.advance(1)
        self.assertEqual(self.received(again).pos, lost.pos)
        self.assertIsNotNone(self.at_once())

    def test_unknown_position(self) -> None:
        """A position that is not known is refused, not answered."""
        self.settle()
        self.assertIsNone(self.at_once(pos="c-99"))
        self.failureResultOf(self.client.send(pos="c-99", **self.said), UnknownPos)

    def test_evicted_cache(self) -> None:
        """Where the user's cache was thrown away nobody knows what happened since."""
        self.settle()
        self.stage.users.evict(ALICE)
        self.assertIsNone(self.at_once())

    def test_closed(self) -> None:
        """A connection that is closed answers nothing."""
        self.settle()
        self.client.conn.close(UnknownPos("gone"))
        self.assertIsNone(self.at_once())

    def test_while_another_is_held(self) -> None:
        """A request that comes while another is held waits for its turn."""
        self.settle()
        held = self.client.send(timeout_s=30, **self.said)
        self.assertIsNone(self.at_once())
        self.stage.clock.advance(30)
        self.successResultOf(held)

    def test_repeated_data(self) -> None:
        """What an extension repeats until it is acknowledged elsewhere is asked for each time."""
        self.silent.says = Extended(b"{}", repeats=True)
        self.settle()
        self.assertIsNone(self.at_once())

    def test_extension_that_fails(self) -> None:
        """An extension on which the program stumbled is asked again."""
        self.silent.fails = True
        self.settle()
        self.assertIsNone(self.at_once())
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    def test_long_answer(self) -> None:
        """An answer that takes its time anyway is not made at once."""
        self.silent.says = Extended(b'"%b"' % (b"x" * 20_000))
        self.settle()
        self.assertIsNone(self.at_once())

    def test_measured(self) -> None:
        """It counts as a request that was processed."""
        self.settle()
        registry = self.stage.metrics.registry
        before = registry.get_sample_value("syncproxy_request_processing_seconds_count") or 0
        self.at_once()
        self.assertEqual(registry.get_sample_value("syncproxy_request_processing_seconds_count"), before + 1)


class StoredTests(SimplifiedCase):
    """Without a timeout, on a connection of MSC4186, which is stored."""

    def setUp(self) -> None:
        super().setUp()
        self.stage.room("!a", ALICE)
        for _ in range(3):
            self.sync()

    def at_once(self) -> str | None:
        """The position of what is answered at once, which the client has from then on."""
        body = self.client.conn.at_once(asked(pos=self.client.pos, **self.said), self.client.notebook)
        if body is not None:
            self.client.pos = self.client.notebook.answers[body].pos
        return None if body is None else self.client.pos

    def test_stores_nothing(self) -> None:
        """It goes on, each time with another position, and writes nothing."""
        before = len(self.writer.done)
        self.assertEqual(len({self.at_once(), self.at_once(), None}), 3)
        self.assertEqual(len(self.writer.done), before)

    def test_lost_answer(self) -> None:
        """A client that never saw it goes on from the position before, and misses nothing."""
        before = self.client.pos
        self.assertIsNotNone(self.at_once())
        message = self.stage.message("!a")
        self.client.pos = before
        self.assertEqual(self.sync().rooms["!a"].timeline_ids, [message])


class MapTests(QuietCase):
    """Among all connections."""

    def setUp(self) -> None:
        super().setUp()
        self.conns = self.stage.conn_map(ttl_s=100)
        self.pos: str | None = None
        self.notebook = Notebook()
        for _ in range(3):
            body = self.successResultOf(Deferred.fromCoroutine(self.answered()))
            self.pos = self.notebook.answers[body].pos

    async def answered(self) -> bytes:
        return await self.conns.answer(PHONE, b"token", self.request(), self.notebook, Deferred())

    def request(self, **said: Any) -> Any:
        return asked(**{"pos": self.pos, **self.said, **said})

    def known(self, **said: Any) -> bool:
        """Whether the device is answered at once."""
        body = self.conns.at_once(PHONE, self.request(**said), self.notebook)
        if body is not None:
            self.pos = self.notebook.answers[body].pos
        return body is not None

    def test_found(self) -> None:
        """The connection of the device and `conn_id` answers, no other."""
        self.assertEqual((self.known(conn_id="other"), self.known()), (False, True))

    def test_use_keeps_it_alive(self) -> None:
        """It does not expire while it is used so; else it does."""
        for _ in range(3):
            self.stage.clock.advance(90)
            self.assertTrue(self.known())
        self.stage.clock.advance(100)
        self.assertFalse(self.known())

    def test_stopping(self) -> None:
        """Nothing is answered at once when the service stops."""
        self.successResultOf(Deferred.fromCoroutine(self.conns.stop()))
        self.assertFalse(self.known())


class HeldTests(QuietCase):
    """With a timeout."""

    def test_nothing_is_looked_at(self) -> None:
        """A request that says what the last one said is held without a look, and answers what happens."""
        self.settle()
        before = self.silent.asked
        body = self.client.send(timeout_s=30, **self.said)
        self.assertEqual(self.silent.asked, before)
        message = self.stage.message("!a")
        self.assertEqual(self.received(body).rooms["!a"].timeline_ids, [message])

    def test_after_news(self) -> None:
        """So also after an answer that told something."""
        self.stage.message("!a")
        self.sync(**self.said)
        before = self.silent.asked
        body = self.client.send(timeout_s=30, **self.said)
        self.assertEqual(self.silent.asked, before)
        self.stage.clock.advance(30)
        self.assertEqual(self.received(body).rooms, {})

    def test_state_that_changed(self) -> None:
        """An extension whose state the last answer changed may have more to say."""
        self.silent.says = Extended(b"{}", delta=1)
        self.sync(**self.said)
        before = self.silent.asked
        body = self.client.send(timeout_s=30, **self.said)
        self.assertEqual(self.silent.asked, before + 1)
        self.stage.clock.advance(30)
        self.successResultOf(body)

    def test_hung_up(self) -> None:
        """Where the client goes away nothing is answered."""
        self.settle()
        gone: Deferred[None] = Deferred()
        body = self.client.send(timeout_s=30, hung_up=gone, **self.said)
        gone.callback(None)
        self.assertEqual(self.successResultOf(body), b"")
