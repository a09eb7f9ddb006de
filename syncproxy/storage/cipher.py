"""Access tokens at rest: encrypted with a key from the operator's secret."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256

from cryptography.fernet import Fernet, InvalidToken

from syncproxy.errors import ConfigurationError
from syncproxy.storage.database import Database

_KNOWN = "this database belongs to this secret"


class TokenCipher:
    """Encrypts with AES-128 and an HMAC (Fernet); `secret` is any bytes, the longer the better."""

    def __init__(self, secret: bytes) -> None:
        self._fernet = Fernet(urlsafe_b64encode(sha256(b"syncproxy tokens\0" + secret).digest()))

    def encrypt(self, token: str) -> bytes:
        """The token as it is stored."""
        return self._fernet.encrypt(token.encode())

    def decrypt(self, encrypted: bytes) -> str:
        """The token. Raises cryptography.fernet.InvalidToken if it was encrypted with another secret."""
        return self._fernet.decrypt(encrypted).decode()


async def check_secret(database: Database, cipher: TokenCipher) -> None:
    """See that the database was made with this secret; a new one remembers it. Raises ConfigurationError."""
    ((stored,),) = await database.query("SELECT secret_check FROM meta")
    if stored is None:
        await database.query("UPDATE meta SET secret_check = %s RETURNING 1", (cipher.encrypt(_KNOWN),))
        return
    try:
        cipher.decrypt(bytes(stored))
    except InvalidToken:
        raise ConfigurationError(
            "The secret is not the one that this database was made with: give that one with --secret-file "
            "(or point --database or --data-dir to an empty one)."
        ) from None
