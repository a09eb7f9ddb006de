"""Whose request it is: the access token of a request, and the address that it came from."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from twisted.internet.address import IPv4Address as TCP4Address
from twisted.internet.address import IPv6Address as TCP6Address
from twisted.web.iweb import IRequest

from syncproxy.errors import MissingToken


def access_token(request: IRequest) -> str:
    """The token of `Authorization: Bearer …`, else of `?access_token=`.

    Raises `MissingToken` if there is neither, or the header is something else.
    """
    headers = request.requestHeaders.getRawHeaders(b"authorization")
    if headers:
        scheme, _, value = headers[0].partition(b" ")
        token = value.strip() if scheme.lower() == b"bearer" else b""
    else:
        token = request.args.get(b"access_token", [b""])[0]
    if not token or not token.isascii() or any(byte <= 32 for byte in token):
        raise MissingToken("No access token, or a malformed Authorization header")
    return token.decode("ascii")


def client_address(request: IRequest, *, trust_forwarded_for: bool) -> str | None:
    """The address to hold to account, an IPv6 one by its /64; `None` for loopback and unix peers.

    With `trust_forwarded_for` it is the last entry of `X-Forwarded-For`, where there is one.
    """
    if trust_forwarded_for:
        headers = request.requestHeaders.getRawHeaders(b"x-forwarded-for")
        if headers:
            return _normalized(headers[-1].rpartition(b",")[2].strip().decode("latin-1"))
    peer = request.getClientAddress()
    if isinstance(peer, TCP4Address | TCP6Address):
        return _normalized(peer.host)
    return None


@lru_cache(maxsize=4096)
def _normalized(host: str) -> str | None:
    # some proxies add the port: [address]:port or a.b.c.d:port
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address: IPv4Address | IPv6Address = ip_address(host.partition("%")[0])
    except ValueError:
        return host[:64] or None
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    if address.is_loopback:
        return None
    if isinstance(address, IPv6Address):
        return address.exploded[:19]
    return str(address)
