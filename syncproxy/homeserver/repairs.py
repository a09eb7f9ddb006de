"""Answers that are no sound JSON, made sound: one bad string of a stranger must not keep a whole answer away.

Everything else keeps its bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import msgspec

from syncproxy.matrix.depth import brackets

_T = TypeVar("_T")
#: far more than an event may have (`matrix.depth.MOST_LEVELS`), so that what is cut off is known by its depth; and
#: far less than what the decoder takes
MOST_LEVELS = 200
#: what decoding raises for text that is none, wrong shapes and too deep nesting
UNSOUND = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
#: calls that may be on the stack when parts of an answer are decoded, more than when the answer was
_ROOM = 300
_REPLACEMENT = rb"\ufffd"
#: a pair of surrogates, a lone one, or any other escape: backslashes are in strings only
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL
)


def soundly(body: bytes, parse: Callable[[bytes], _T]) -> _T:
    """The body parsed, as it is if that can be, else repaired."""
    try:
        # events stay bytes, which msgspec does not look into
        if not body.isascii():
            body.decode()
        return parse(body)
    except UNSOUND:
        text = sound_text(body)
    try:
        return parse(text)
    except RecursionError:
        return parse(flattened(text))


def with_room(decode: Callable[[], _T], calls: int = _ROOM) -> _T:
    """What `decode` gives, called deep in the stack: what it takes can be taken apart later wherever that is done."""
    return with_room(decode, calls - 1) if calls else decode()


def sound_text(body: bytes) -> bytes:
    """The JSON with U+FFFD for text that is none."""
    text = body.decode("utf-8", "replace").encode()
    return _ESCAPE.sub(lambda found: _REPLACEMENT if found[1] else found[0], text)


def flattened(text: bytes) -> bytes:
    """The JSON with `null` for all that is deeper than MOST_LEVELS."""
    kept: list[bytes] = []
    start = 0
    for found, opens, level in brackets(text):
        if level == MOST_LEVELS + 1:
            if opens:
                kept += text[start : found.start()], b"null"
            else:
                start = found.end()
    kept.append(text[start:])
    return b"".join(kept)
