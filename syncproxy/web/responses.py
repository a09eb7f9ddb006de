"""What every response has in common: CORS, JSON, errors as Matrix spells them, gzip where it pays."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from typing import Any

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest

from syncproxy.errors import MatrixError
from syncproxy.turns import Turn

#: what the Client-Server API prescribes for every response
CORS: Mapping[bytes, bytes] = {
    b"Access-Control-Allow-Origin": b"*",
    b"Access-Control-Allow-Methods": b"GET, POST, PUT, DELETE, OPTIONS",
    b"Access-Control-Allow-Headers": b"X-Requested-With, Content-Type, Authorization",
}

#: gzip does not pay below this size, in bytes
_WORTH_GZIP = 1024
_SLICE = 64 * 1024
#: answers up to this size, in bytes, take no time to compress or to send
SHORT = 16 * 1024
#: makes most of what higher levels make, in half the time
_LEVEL = 2
_GZIP_WINDOW = 31


def head(request: IRequest, status: int = 200) -> None:
    """Set the status and the headers that every answer has."""
    request.setResponseCode(status)
    headers = request.responseHeaders
    for name, value in CORS.items():
        headers.setRawHeaders(name, [value])
    headers.setRawHeaders(b"Content-Type", [b"application/json"])


def plain(request: IRequest, body: bytes, status: int = 200) -> bytes:
    """A JSON answer as it is."""
    head(request, status)
    return _sized(request, body)


async def compressed(request: IRequest, body: bytes, clock: IReactorTime) -> bytes:
    """A JSON answer, gzipped if it is over 1 KiB and the client accepts that; pauses between slices."""
    head(request)
    return _sized(request, await _gzip(body, clock) if _is_gzipped(request, body) else body)


def compressed_at_once(request: IRequest, body: bytes) -> bytes:
    """The same of an answer that is so short that it takes no time."""
    head(request)
    return _sized(request, zlib.compress(body, _LEVEL, _GZIP_WINDOW) if _is_gzipped(request, body) else body)


def error(request: IRequest, problem: MatrixError) -> bytes:
    """An error as the Client-Server API has it, with `Retry-After` where the error says when."""
    content: dict[str, Any] = {"errcode": problem.errcode, "error": problem.message}
    head(request, problem.status)
    if problem.soft_logout:
        content["soft_logout"] = True
    if problem.retry_after_s is not None:
        request.responseHeaders.setRawHeaders(b"Retry-After", [b"%d" % math.ceil(problem.retry_after_s)])
        if problem.status == 429:
            content["retry_after_ms"] = math.ceil(problem.retry_after_s * 1000)
    return _sized(request, msgspec.json.encode(content))


def accepts_gzip(request: IRequest) -> bool:
    """Whether `Accept-Encoding` names gzip (or anything) with a quality above 0."""
    accepted: dict[bytes, bool] = {}
    for header in request.requestHeaders.getRawHeaders(b"accept-encoding", ()):
        for item in header.lower().split(b","):
            coding, _, quality = item.replace(b" ", b"").partition(b";q=")
            accepted[coding] = quality.strip(b"0.") != b"" or not quality
    return accepted.get(b"gzip", accepted.get(b"*", False))


def _is_gzipped(request: IRequest, body: bytes) -> bool:
    """Whether the body is to be gzipped; says so in the headers."""
    if len(body) <= _WORTH_GZIP:
        return False
    request.responseHeaders.setRawHeaders(b"Vary", [b"Accept-Encoding"])
    if not accepts_gzip(request):
        return False
    request.responseHeaders.setRawHeaders(b"Content-Encoding", [b"gzip"])
    return True


def _sized(request: IRequest, body: bytes) -> bytes:
    request.responseHeaders.setRawHeaders(b"Content-Length", [b"%d" % len(body)])
    return body


async def _gzip(body: bytes, clock: IReactorTime) -> bytes:
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    turn = Turn(clock)
    parts = []
    for start in range(0, len(body), _SLICE):
        parts.append(compressor.compress(body[start : start + _SLICE]))
        await turn.pause()
    parts.append(compressor.flush())
    return b"".join(parts)
