"""`pos` in `/messages` and `/relations`: the homeserver is given the token that it knows (end of spec/msc4186.md)."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote_from_bytes, unquote_plus

from syncproxy.connection.conn_map import ConnMap
from syncproxy.errors import MatrixError
from syncproxy.v2.tokens import TokenMap
from syncproxy.web.authentication import access_token

_PATHS = re.compile(rb"/_matrix/client/[^/]+/rooms/[^/]+/(messages|relations/.+)")
_NAMES = ("from", "to")


class StoredPositions:
    """Knows which token of the homeserver a `pos` stands for."""

    def __init__(self, tokens: TokenMap, conns: ConnMap) -> None:
        self._tokens = tokens
        self._conns = conns

    async def replaced(self, request: Any) -> bytes:
        """The request's target, each `from` or `to` that is a `pos` of this device replaced; all else as it is."""
        target: bytes = request.uri
        path, mark, query = target.partition(b"?")
        if request.method != b"GET" or not mark or not _PATHS.fullmatch(path):
            return target
        parts = query.split(b"&")
        found = {number: pos for number, part in enumerate(parts) if (pos := self._position_in(part)) is not None}
        if not found:
            return target
        try:
            device = (await self._tokens.identify(access_token(request))).device
            for number, pos in found.items():
                since = await self._conns.since_at(device, pos)
                if since is not None:
                    name = parts[number].partition(b"=")[0]
                    parts[number] = name + b"=" + quote_from_bytes(since.encode("utf-8"), safe="").encode("ascii")
        except MatrixError:
            # the homeserver says what is wrong with the token
            return target
        return path + mark + b"&".join(parts)

    def _position_in(self, part: bytes) -> str | None:
        name, _, value = part.partition(b"=")
        if unquote_plus(name.decode("latin-1")) not in _NAMES:
            return None
        pos = unquote_plus(value.decode("latin-1"))
        return pos if self._conns.may_know(pos) else None
