"""Packed values made smaller still, where they are seldom looked at."""

from __future__ import annotations

import zstandard

#: all that helps is to find what repeats: higher levels take twice the time for 2 % less
_LEVEL = 1


class Compression:
    """Compresses bytes in which much of what is `typical` of them comes again: that takes no room in each of them.

    By Zstandard (RFC 8878), without what a file would need: magic number, checksum, name of the dictionary.
    """

    def __init__(self, typical: bytes = b"") -> None:
        form = zstandard.FORMAT_ZSTD1_MAGICLESS
        parameters = zstandard.ZstdCompressionParameters.from_level(
            _LEVEL, format=form, write_content_size=True, write_checksum=False, write_dict_id=False
        )
        dictionary = None
        if typical:
            dictionary = zstandard.ZstdCompressionDict(typical, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
            dictionary.precompute_compress(compression_params=parameters)
        self._compressor = zstandard.ZstdCompressor(compression_params=parameters, dict_data=dictionary)
        self._decompressor = zstandard.ZstdDecompressor(format=form, dict_data=dictionary)

    def compressed(self, data: bytes) -> bytes:
        """The bytes in, mostly, fewer."""
        # a copy, for what comes has the memory of the most that it could have been
        return memoryview(self._compressor.compress(data)).tobytes()

    def decompressed(self, data: bytes) -> bytes:
        """The bytes that were compressed."""
        return self._decompressor.decompress(data)
