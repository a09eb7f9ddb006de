"""The client of the homeserver, over TLS."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as default_reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.ssl import PrivateCertificate
from twisted.trial.unittest import TestCase
from twisted.web.server import Site
from twisted.web.static import Data

from syncproxy.homeserver.client import HomeserverClient, HomeserverUnreachable
from tests.certificates import certificate, trust

reactor: Any = default_reactor


class TlsTests(TestCase):
    """`--homeserver https://…`."""

    timeout = 20

    async def versions(self, pem: bytes) -> bytes:
        """What a homeserver with this certificate, on 127.0.0.1, answers."""
        page = Data(b"{}", "application/json")
        page.isLeaf = True
        site = Site(page)
        site.noisy = False
        port = reactor.listenSSL(0, site, PrivateCertificate.loadPEM(pem).options(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        client = HomeserverClient(reactor, f"https://127.0.0.1:{port.getHost().port}")
        self.addCleanup(client.close)
        return await client.versions()

    async def test_trusted(self) -> None:
        """A homeserver whose certificate is trusted, and its own, is spoken to."""
        pem = certificate("127.0.0.1")
        trust(self, pem)
        self.assertEqual(await self.versions(pem), b"{}")

    async def test_certificate_nobody_vouches_for(self) -> None:
        """One whose certificate nobody vouches for is not."""
        await self.assertFailure(ensureDeferred(self.versions(certificate("127.0.0.1"))), HomeserverUnreachable)

    async def test_certificate_of_another_host(self) -> None:
        """Nor is one whose certificate is another host's."""
        pem = certificate("127.0.0.2")
        trust(self, pem)
        await self.assertFailure(ensureDeferred(self.versions(pem)), HomeserverUnreachable)
