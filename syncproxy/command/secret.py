"""The secret that access tokens are encrypted with, and keys that are derived from it."""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path

from syncproxy.command.settings import Settings
from syncproxy.errors import ConfigurationError

_SHORTEST = 16


def read_secret(settings: Settings) -> bytes:
    """The secret: from `--secret-file`, from the environment, or made once in the data directory (mode 0600).

    Raises ConfigurationError if it cannot be read, or is too short to be one.
    """
    if settings.secret_file is not None:
        return _read(settings.secret_file, "--secret-file")
    if settings.secret is not None:
        return settings.secret
    path = settings.data_dir / "secret"
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_new(path, secrets.token_urlsafe(32).encode("ascii"))
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; name another --data-dir, or a --secret-file.") from None
    return _read(path, "The secret")


def derived_key(secret: bytes, purpose: str) -> bytes:
    """A key of 32 bytes for one purpose, which says nothing about the others."""
    return hmac.digest(secret, b"syncproxy " + purpose.encode("ascii"), "sha256")


def _read(path: Path, what: str) -> bytes:
    try:
        secret = path.read_bytes().strip()
    except OSError as error:
        raise ConfigurationError(f"{what} {path}: {error.strerror}; name a file that can be read.") from None
    if len(secret) < _SHORTEST:
        raise ConfigurationError(
            f"{what} {path} holds fewer than {_SHORTEST} bytes: fill it, for example with `openssl rand -hex 32`."
        )
    return secret


def _write_new(path: Path, secret: bytes) -> None:
    """Make the file, whole or not at all; FileExistsError if it is there."""
    if path.exists():
        raise FileExistsError(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secret + b"\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(partial, path)
    finally:
        partial.unlink()
