"""How deep JSON is nested: what is too deep for a decoder is found without one."""

from __future__ import annotations

import re

import msgspec

#: levels of an event, a message or a section: far more than any of use
MOST_LEVELS = 100
#: a string, or a bracket
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]', re.DOTALL)


def is_too_deep(raw: bytes | msgspec.Raw) -> bool:
    """Whether valid JSON has more than MOST_LEVELS levels."""
    json = bytes(raw)
    # few brackets cannot be many levels, and few is what almost all have
    if json.count(b"{") + json.count(b"[") <= MOST_LEVELS:
        return False
    level = 0
    for found in _TOKEN.finditer(json):
        token = found[0]
        if token in b"[{":
            level += 1
            if level > MOST_LEVELS:
                return True
        elif token in b"]}":
            level -= 1
    return False
