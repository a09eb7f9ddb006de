"""How deep JSON is nested: what is too deep for a decoder is found without one."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

#: levels of an event, a message or a section: far more than any of use
MOST_LEVELS = 100
#: a bracket, or a string, also one without an end, so that nothing is looked at twice
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{]|[\]}]', re.DOTALL)
_OPENING, _CLOSING = b"[{", b"]}"


def brackets(json: bytes) -> Iterator[tuple[re.Match[bytes], bool, int]]:
    """Each bracket outside of strings, whether it opens, and the level that it opens or closes."""
    level = 0
    for found in _TOKEN.finditer(json):
        token = found[0]
        if token in _OPENING:
            level += 1
            yield found, True, level
        elif token in _CLOSING:
            yield found, False, level
            level -= 1


def is_flat(json: bytes) -> bool:
    """Whether it has so few brackets, as almost all events have, that they cannot be more than MOST_LEVELS levels."""
    return json.count(b"{") + json.count(b"[") <= MOST_LEVELS


def is_too_deep(raw: bytes | msgspec.Raw) -> bool:
    """Whether valid JSON has more than MOST_LEVELS levels."""
    json = bytes(raw)
    return not is_flat(json) and any(level > MOST_LEVELS for _, _, level in brackets(json))
