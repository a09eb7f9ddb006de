"""URLs of requests, made once: treq takes others apart and puts them together again, character by character."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from hyperlink import EncodedURL


class Target(EncodedURL):
    """What treq asks for: it says its own text, and is in a form to be sent already."""

    __slots__ = ("_text",)
    _text: str

    def to_uri(self) -> Target:
        """As it is: all of it is quoted."""
        return self

    def to_text(self, with_password: bool = False) -> str:
        """The text."""
        return self._text


class Targets:
    """The URLs below one homeserver's."""

    def __init__(self, base: str) -> None:
        """`base` may have a host name that is not ASCII."""
        parsed = EncodedURL.from_text(base)
        # hyperlink takes the address of IPv6 for a name that it cannot spell
        self._base = parsed if base.isascii() else parsed.to_uri()
        self._start = self._base.to_text()

    def of(self, path: str, parameters: Mapping[str, str]) -> Target:
        """The URL of a path, which is quoted, with these parameters, which are not."""
        target = Target(self._base.scheme, self._base.host, port=self._base.port)
        target._text = self._start + path + query(parameters)
        return target


def query(parameters: Mapping[str, str]) -> str:
    """What follows a path, with the mark before it."""
    return "?" + urlencode(parameters, quote_via=quote) if parameters else ""
