"""What the homeserver is told of who asks."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from syncproxy.web.forwarded_for import Asker, tell_asker

PHONE = Asker("192.0.2.1", False, b"chat.example.org")
TOLD = {
    "X-Forwarded-For": ["192.0.2.1"],
    "X-Forwarded-Proto": ["http"],
    "X-Forwarded-Host": ["chat.example.org"],
    "Forwarded": ['for=192.0.2.1;proto=http;host="chat.example.org"'],
}


def told(asker: Asker = PHONE, claims: dict[str, str] | None = None, *, trusted: bool = False) -> dict[str, list[str]]:
    """The headers of a request that came with these."""
    headers = Headers({name: [value] for name, value in (claims or {}).items()})
    tell_asker(headers, asker, trusted=trusted)
    return {name.decode(): [value.decode() for value in values] for name, values in headers.getAllRawHeaders()}


class AskerTests(SynchronousTestCase):
    """Headers about the client."""

    def test_written_anew(self) -> None:
        """Whatever anybody claims is thrown away, whichever header it uses; others stay."""
        claims = {
            "X-Forwarded-For": "9.9.9.9",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "evil",
            "X-Forwarded-Anything": "evil",
            "X-Real-Ip": "9.9.9.9",
            "Forwarded": "for=9.9.9.9",
            "X-Other": "1",
        }
        self.assertEqual({**TOLD, "X-Other": ["1"]}, told(claims=claims))

    def test_trusted(self) -> None:
        """What a reverse proxy wrote stays; what it left out is added, but for `Forwarded`, which would contradict."""
        self.assertEqual(TOLD, told(trusted=True))
        claims = {"X-Forwarded-For": "9.9.9.9, 8.8.8.8", "X-Real-Ip": "8.8.8.8"}
        expected = {**TOLD, "X-Forwarded-For": ["9.9.9.9, 8.8.8.8"], "X-Real-Ip": ["8.8.8.8"]}
        del expected["Forwarded"]
        self.assertEqual(
            expected, {name.replace("IP", "Ip"): value for name, value in told(claims=claims, trusted=True).items()}
        )

    def test_unix_peer(self) -> None:
        """A client on a unix socket has no address."""
        found = told(Asker(None, True, None))
        self.assertEqual({"X-Forwarded-Proto": ["https"], "Forwarded": ["for=unknown;proto=https"]}, found)

    def test_ipv6(self) -> None:
        """`Forwarded` has IPv6 addresses in brackets and quotes."""
        self.assertEqual(['for="[2001:db8::1]";proto=http'], told(Asker("2001:db8::1", False, None))["Forwarded"])

    def test_strange_host(self) -> None:
        """A `Host` that is none is not repeated."""
        for host in (b"", b'a"b', b"a,b", b"a b", b"x" * 300, b"\xff"):
            self.assertNotIn("X-Forwarded-Host", told(Asker("192.0.2.1", False, host)))
