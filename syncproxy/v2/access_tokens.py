"""Access tokens as values that cannot be printed by accident."""

from __future__ import annotations

from hashlib import sha256

import attrs


@attrs.frozen(repr=False)
class AccessToken:
    """A user's access token; `hash` is its SHA-256, by which it is stored and found."""

    secret: str
    hash: bytes

    @classmethod
    def of(cls, secret: str) -> AccessToken:
        """The token of this text."""
        return cls(secret, sha256(secret.encode()).digest())

    def __repr__(self) -> str:
        return f"<AccessToken {self.hash.hex()[:8]}…>"
