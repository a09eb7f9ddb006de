"""Texts that people gave, as they are compared and shown."""

from __future__ import annotations


def text_of(value: object) -> str | None:
    """A JSON string without its NULs; `None` if nothing is left, and for what is no string."""
    return without_nul(value) or None if isinstance(value, str) else None


def without_nul(text: str) -> str:
    """The text without NULs: no database and few clients take them."""
    return text.replace("\x00", "")
