"""Where the homeserver is."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import attrs
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.web.client import BrowserLikePolicyForHTTPS

#: a host that does not take a connection is waited for so long, in seconds
_CONNECT_S = 10
_HTTPS_PORT, _HTTP_PORT = 443, 80


@attrs.frozen
class Origin:
    """The one place that everything goes to: its endpoint, the `Host` to name, what begins each path, and each URL."""

    endpoint: IStreamClientEndpoint
    host: bytes
    path: bytes
    url: str


def origin(reactor: Any, base_url: str) -> Origin:
    """Where a `--homeserver` is; certificates and host names are verified."""
    if base_url.startswith("unix:"):
        there = UNIXClientEndpoint(reactor, base_url[len("unix:") :], timeout=_CONNECT_S)
        return Origin(there, b"localhost", b"", "http://localhost")
    url = urlsplit(base_url)
    host, is_secure = url.hostname or "", url.scheme == "https"
    port = url.port or (_HTTPS_PORT if is_secure else _HTTP_PORT)
    endpoint: IStreamClientEndpoint = HostnameEndpoint(reactor, host, port, timeout=_CONNECT_S)
    if is_secure:
        endpoint = wrapClientTLS(BrowserLikePolicyForHTTPS().creatorForNetloc(host.encode("idna"), port), endpoint)
    return Origin(endpoint, url.netloc.encode("idna"), url.path.rstrip("/").encode("ascii"), base_url.rstrip("/"))
