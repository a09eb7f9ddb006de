"""Which address a request is held to."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.test.requesthelper import DummyRequest

from syncproxy.web.authentication import client_address


def _address(peer: Any, forwarded: str | None = None, *, trust: bool = True) -> str | None:
    request: Any = DummyRequest([b""])
    request.client = peer
    if forwarded is not None:
        request.requestHeaders.setRawHeaders("X-Forwarded-For", [forwarded])
    return client_address(request, trust_forwarded_for=trust)


class ClientAddressTests(SynchronousTestCase):
    """Peers and X-Forwarded-For."""

    def test_peer(self) -> None:
        """Without the header it is the peer."""
        self.assertEqual(_address(IPv4Address("TCP", "9.9.9.9", 1)), "9.9.9.9")

    def test_last_entry(self) -> None:
        """The last entry is what the trusted proxy in front saw; clients may write the others."""
        self.assertEqual(_address(IPv4Address("TCP", "127.0.0.1", 1), "1.1.1.1, 8.8.8.8"), "8.8.8.8")

    def test_untrusted(self) -> None:
        """Without the setting the header is not looked at."""
        self.assertEqual(_address(IPv4Address("TCP", "9.9.9.9", 1), "1.1.1.1", trust=False), "9.9.9.9")

    def test_not_limited(self) -> None:
        """Loopback and unix peers have no address to hold to account."""
        peers = [
            IPv4Address("TCP", "127.0.0.5", 1),
            IPv6Address("TCP", "::1", 1),
            UNIXAddress(b"/run/socket"),
            IPv6Address("TCP", "::ffff:127.0.0.1", 1),
        ]
        self.assertEqual([_address(peer) for peer in peers], [None] * 4)

    def test_ipv6_network(self) -> None:
        """An IPv6 client is its /64, of which it has every address."""
        addresses = {_address(IPv6Address("TCP", f"2001:db8:0:1::{host}", 1)) for host in ("1", "ffff", "a:b:c")}
        self.assertEqual(addresses, {"2001:0db8:0000:0001"})

    def test_port(self) -> None:
        """A port that a proxy adds is no part of the address."""
        entries = ["9.9.9.9:80", "[2001:db8:0:1::1]:80", "2001:db8:0:1::1"]
        addresses = [_address(UNIXAddress(b""), entry) for entry in entries]
        self.assertEqual(addresses, ["9.9.9.9", "2001:0db8:0000:0001", "2001:0db8:0000:0001"])

    def test_nonsense(self) -> None:
        """An entry that is no address still is somebody's, and bounded."""
        self.assertEqual(_address(UNIXAddress(b""), "unknown" + "x" * 100), ("unknown" + "x" * 100)[:64])
