"""Access tokens as values."""

from __future__ import annotations

from hashlib import sha256

import attrs
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.v2.access_tokens import AccessToken

SECRET = "syt_alice_secret"


class AccessTokenTests(SynchronousTestCase):
    """What a token shows of itself, and to whom it is equal."""

    def test_hash(self) -> None:
        """A token is found by the SHA-256 of its text."""
        self.assertEqual(AccessToken.of(SECRET).hash, sha256(SECRET.encode()).digest())

    def test_text_outside_ascii(self) -> None:
        """Tokens are opaque: any text has a hash."""
        self.assertEqual(AccessToken.of("tökén").hash, sha256("tökén".encode()).digest())

    def test_is_not_printed(self) -> None:
        """Neither `repr`, `str` nor an f-string shows the secret, wherever the token is nested."""
        token = AccessToken.of(SECRET)
        for shown in (repr(token), str(token), f"{token}", repr([token])):
            self.assertNotIn(SECRET, shown)
        self.assertIn(token.hash.hex()[:8], repr(token))

    def test_value(self) -> None:
        """The same text is the same token, and usable as a key."""
        self.assertEqual(len({AccessToken.of("a"), AccessToken.of("a"), AccessToken.of("b")}), 2)

    def test_is_frozen(self) -> None:
        """A token cannot be changed into another one."""
        token = AccessToken.of(SECRET)
        with self.assertRaises(attrs.exceptions.FrozenInstanceError):
            token.secret = "other"  # type: ignore[misc] # what is tested
