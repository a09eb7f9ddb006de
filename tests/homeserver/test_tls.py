"""The client of the homeserver, over TLS."""

from __future__ import annotations

import ipaddress
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet import reactor as default_reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.ssl import PrivateCertificate
from twisted.trial.unittest import TestCase
from twisted.web.server import Site
from twisted.web.static import Data

from syncproxy.homeserver.client import HomeserverClient, HomeserverUnreachable

reactor: Any = default_reactor


def certificate(address: str) -> bytes:
    """A certificate of this address that vouches for itself, and its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "homeserver")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return signed.public_bytes(pem) + private


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

    def trust(self, pem: bytes) -> None:
        """Let it be all that this machine trusts."""
        path = Path(self.mktemp())
        path.write_bytes(pem)
        before = dict(os.environ)
        self.addCleanup(os.environ.update, before)
        self.addCleanup(os.environ.pop, "SSL_CERT_FILE")
        os.environ["SSL_CERT_FILE"] = str(path)

    async def test_trusted(self) -> None:
        """A homeserver whose certificate is trusted, and its own, is spoken to."""
        pem = certificate("127.0.0.1")
        self.trust(pem)
        self.assertEqual(await self.versions(pem), b"{}")

    async def test_certificate_nobody_vouches_for(self) -> None:
        """One whose certificate nobody vouches for is not."""
        await self.assertFailure(ensureDeferred(self.versions(certificate("127.0.0.1"))), HomeserverUnreachable)

    async def test_certificate_of_another_host(self) -> None:
        """Nor is one whose certificate is another host's."""
        pem = certificate("127.0.0.2")
        self.trust(pem)
        await self.assertFailure(ensureDeferred(self.versions(pem)), HomeserverUnreachable)
