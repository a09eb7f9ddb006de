"""Headers that are for the next hop only, which is every connection's own business (RFC 9110, 7.6.1). Pure."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.web.http_headers import Headers

#: `Expect` was answered by whoever reads the body; lengths are written anew with the body
_OF_A_HOP = frozenset(
    [
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"trailers",
        b"transfer-encoding",
        b"upgrade",
    ]
)


def end_to_end(headers: Headers, connection: Iterable[bytes], keep: frozenset[bytes] = frozenset()) -> Headers:
    """The headers that go on; `connection` are the values of `Connection`, which names more that do not.

    What is in `keep` goes on all the same.
    """
    named = {name.strip().lower() for value in connection for name in value.split(b",")}
    passed = Headers()
    for name, values in headers.getAllRawHeaders():
        lower = name.lower()
        if lower in keep or (lower not in _OF_A_HOP and lower not in named):
            passed.setRawHeaders(name, values)
    return passed
