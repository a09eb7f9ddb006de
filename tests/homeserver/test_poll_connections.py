"""The connections that polls go over, without a network."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.homeserver.answer import Answer, NoAnswer
from syncproxy.homeserver.bodies import BodyTooLarge
from syncproxy.homeserver.origin import Origin
from syncproxy.homeserver.poll_connections import PollConnections
from tests.homeserver.test_answer import OK, PLAIN, sized

CLOSE = sized(b"{}", more=b"Connection: close\r\n")


class Wire:
    """One connection, seen from the homeserver."""

    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol
        self.transport = StringTransport()
        protocol.makeConnection(self.transport)

    def asked(self) -> bytes:
        """What was asked since the last look."""
        asked: bytes = self.transport.value()
        self.transport.clear()
        return asked

    def says(self, data: bytes) -> None:
        """Answer."""
        self.protocol.dataReceived(data)

    def ends(self, reason: Exception | None = None) -> None:
        """Close it."""
        self.protocol.connectionLost(Failure(reason or ConnectionDone()))


class ConnectionsCase(SynchronousTestCase):
    """Connections to a homeserver that the test plays."""

    def setUp(self) -> None:
        """Nothing is connected yet."""
        self.reactor = MemoryReactorClock()
        origin = Origin(UNIXClientEndpoint(self.reactor, "/there"), b"hs:8008", b"/below", "http://hs:8008/below")
        self.polls = PollConnections(self.reactor, origin, b"User-Agent: me\r\n", None)

    def ask(self, token: str = "token") -> Deferred[Answer]:
        """Poll."""
        return ensureDeferred(self.polls.get(b"/sync?since=s", token, 100))

    def connected(self) -> Wire:
        """The connection that was asked for last, made."""
        return Wire(self.reactor.unixClients[-1][1].buildProtocol(None))

    def kept(self) -> Wire:
        """A connection on which one answer came, and that waits for another request."""
        asking = self.ask()
        wire = self.connected()
        wire.says(PLAIN)
        self.assertEqual(self.successResultOf(asking), OK)
        wire.asked()
        return wire

    def connections(self) -> int:
        """How many were asked for."""
        return len(self.reactor.unixClients)


class AskTests(ConnectionsCase):
    """Requests and answers."""

    def test_request(self) -> None:
        """A request has its headers, and the token in one of them."""
        self.ask("sécret")
        self.assertEqual(
            self.connected().asked().split(b"\r\n"),
            [
                b"GET /below/sync?since=s HTTP/1.1",
                b"Host: hs:8008",
                b"User-Agent: me",
                b"Accept-Encoding: gzip",
                "Authorization: Bearer sécret".encode(),
                b"",
                b"",
            ],
        )

    def test_token_with_lines(self) -> None:
        """A token cannot add headers."""
        self.ask("a\r\nX-Other: b\n\r\nGET / HTTP/1.1\x0bc")
        asked = self.connected().asked()
        self.assertTrue(asked.endswith(b"\r\nAuthorization: Bearer a X-Other: b GET / HTTP/1.1 c\r\n\r\n"), asked)

    def test_one_after_the_other(self) -> None:
        """A connection is used again, and by one request at a time."""
        wire = self.kept()
        first, second = self.ask(), self.ask()
        self.assertEqual(self.connections(), 2)
        self.connected().says(sized(b"2"))
        wire.says(sized(b"1"))
        self.assertEqual(self.successResultOf(first).body, b"1")
        self.assertEqual(self.successResultOf(second).body, b"2")

    def test_homeserver_that_closes(self) -> None:
        """Where the homeserver wants to close the connection, it is closed and not used again."""
        asking = self.ask()
        wire = self.connected()
        wire.says(CLOSE)
        self.assertEqual(self.successResultOf(asking), OK)
        self.assertTrue(wire.transport.disconnecting)
        self.ask()
        self.assertEqual((wire.asked().count(b"GET"), self.connections()), (1, 2))

    def test_unasked(self) -> None:
        """A connection on which something comes that nobody asked for is cut: it could be taken for an answer."""
        wire = self.kept()
        wire.says(PLAIN)
        self.assertTrue(wire.transport.disconnected)
        wire.ends()
        self.ask()
        self.assertEqual(self.connections(), 2)

    def test_unusable(self) -> None:
        """What is no answer, or too long a one, is said so, and its connection cut."""
        for data, problem in ((b"220 mail\r\n", NoAnswer), (sized(b" " * 101), BodyTooLarge)):
            asking = self.ask()
            wire = self.connected()
            wire.says(data)
            self.failureResultOf(asking, problem)
            self.assertTrue(wire.transport.disconnected)
            wire.ends()

    def test_cancelled(self) -> None:
        """A request that nobody waits for any more cuts its connection, and what still comes there is nothing."""
        asking = self.ask()
        wire = self.connected()
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.assertTrue(wire.transport.disconnected)
        wire.says(PLAIN)
        wire.ends()
        self.ask()
        self.assertEqual(self.connections(), 2)


class EndTests(ConnectionsCase):
    """Connections that end."""

    def test_answer_that_ends_with_it(self) -> None:
        """A body without a length ends with its connection, if that is closed and not broken."""
        for reason, is_whole in ((ConnectionDone(), True), (ConnectionLost(), False)):
            asking = self.ask()
            wire = self.connected()
            wire.says(b"HTTP/1.1 200 OK\r\n\r\n{}")
            wire.ends(reason)
            if is_whole:
                self.assertEqual(self.successResultOf(asking), OK)
            else:
                self.failureResultOf(asking, NoAnswer)

    def test_truncated(self) -> None:
        """An answer that breaks off is none."""
        asking = self.ask()
        wire = self.connected()
        wire.says(PLAIN[:-1])
        wire.ends()
        self.failureResultOf(asking, NoAnswer)

    def test_closed_between_requests(self) -> None:
        """A kept connection that ends is not used again."""
        self.kept().ends()
        self.ask()
        self.assertEqual(self.connections(), 2)

    def test_closed_before_it_saw_the_request(self) -> None:
        """A request on a kept connection that ends without a byte is asked again, once, on a new one."""
        for reason in (ConnectionDone(), ConnectionLost()):
            wire = self.kept()
            before = self.connections()
            asking = self.ask()
            asked = wire.asked()
            wire.ends(reason)
            self.assertEqual(self.connections(), before + 1)
            again = self.connected()
            self.assertEqual(again.asked(), asked)
            again.ends(reason)
            self.failureResultOf(asking, NoAnswer)
            self.assertEqual(self.connections(), before + 1)

    def test_broken_answer_is_not_asked_for_again(self) -> None:
        """Once something of an answer came, the request is not repeated."""
        wire = self.kept()
        asking = self.ask()
        wire.says(b"H")
        wire.ends()
        self.failureResultOf(asking, NoAnswer)
        self.assertEqual(self.connections(), 1)


class KeepingTests(ConnectionsCase):
    """How long connections are kept."""

    def test_minute(self) -> None:
        """Nobody needs a connection that was not used for a minute."""
        first, asking = self.kept(), self.ask()
        second = self.kept()
        self.reactor.advance(30)
        first.says(PLAIN)
        self.successResultOf(asking)
        self.reactor.advance(29)
        self.assertFalse(second.transport.disconnecting)
        self.reactor.advance(1)
        self.assertEqual((first.transport.disconnecting, second.transport.disconnecting), (False, True))
        self.reactor.advance(30)
        self.assertTrue(first.transport.disconnecting)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_close(self) -> None:
        """Closing ends those that are kept, and waits until they are gone."""
        wire = self.kept()
        closing = ensureDeferred(self.polls.close())
        self.assertTrue(wire.transport.disconnected)
        self.assertNoResult(closing)
        wire.ends()
        self.successResultOf(closing)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
