"""Headers that tell the homeserver who asks: `X-Forwarded-*`, `Forwarded`. Pure."""

from __future__ import annotations

import re

import attrs
from twisted.web.http_headers import Headers

#: what servers take for a client's address or scheme, beside X-Forwarded-*
_CLAIMS = frozenset([b"forwarded", b"x-real-ip"])
_PREFIX = b"x-forwarded-"
_HOST = re.compile(rb"[0-9A-Za-z._~:\[\]-]{1,255}")


@attrs.frozen
class Asker:
    """Where a request comes from: the peer's address, `None` for unix sockets; the `Host` it named, if it did."""

    address: str | None
    is_secure: bool
    host: bytes | None


def tell_asker(headers: Headers, asker: Asker, *, trusted: bool) -> None:
    """Put into the headers who asks.

    `trusted`: a reverse proxy in front wrote what is there; only what is missing is added. Otherwise anybody may have
    written it, and it is thrown away.
    """
    if not trusted:
        for name, _ in list(headers.getAllRawHeaders()):
            if name.lower() in _CLAIMS or name.lower().startswith(_PREFIX):
                headers.removeHeader(name)
    host = asker.host if asker.host is not None and _HOST.fullmatch(asker.host) else None
    told = {
        b"X-Forwarded-For": None if asker.address is None else asker.address.encode("ascii", "replace"),
        b"X-Forwarded-Proto": b"https" if asker.is_secure else b"http",
        b"X-Forwarded-Host": host,
        b"Forwarded": _forwarded(asker, host),
    }
    known = {name for name in told if headers.hasHeader(name)}
    for name, value in told.items():
        # one that a reverse proxy did not write must not say less than those that it wrote
        if value is not None and name not in known and not (name == b"Forwarded" and known):
            headers.setRawHeaders(name, [value])


def _forwarded(asker: Asker, host: bytes | None) -> bytes:
    address = "unknown" if asker.address is None else asker.address
    whose = f'"[{address}]"' if ":" in address else address
    parts = [f"for={whose}".encode("ascii", "replace"), b"proto=https" if asker.is_secure else b"proto=http"]
    if host is not None:
        parts.append(b'host="%b"' % host)
    return b";".join(parts)
