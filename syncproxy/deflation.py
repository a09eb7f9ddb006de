"""Packed values made smaller still, where they are seldom looked at."""

from __future__ import annotations

import zlib

#: DEFLATE without header and checksum; it looks 8 KB back, with tables of so little memory that they are made quickly
_WINDOW_BITS = -13
_MEMORY_LEVEL = 7
_FASTEST = 1


class Deflation:
    """Deflates bytes in which much of what is `typical` of them comes again: that takes no room in each of them."""

    def __init__(self, typical: bytes = b"") -> None:
        self._typical = typical

    def deflated(self, data: bytes) -> bytes:
        """The bytes in, mostly, fewer."""
        method = zlib.compressobj(_FASTEST, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL, zdict=self._typical)
        return method.compress(data) + method.flush()

    def inflated(self, data: bytes) -> bytes:
        """The bytes that were deflated."""
        return zlib.decompressobj(_WINDOW_BITS, self._typical).decompress(data)
