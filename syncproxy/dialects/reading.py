"""What all dialects have in common in reading a request's body."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

import msgspec
from canonicaljson import encode_canonical_json

from syncproxy.errors import BadJson, InvalidParam, NotJson

_T = TypeVar("_T")


def json_object(body: bytes) -> dict[str, Any]:
    """The body's members; no bytes and white space are an empty object. Raises `NotJson` or `BadJson`."""
    if not body.strip():
        return {}
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise NotJson("The body is not JSON") from problem
    if not isinstance(decoded, dict):
        raise BadJson("The body is not an object")
    return decoded


def shaped(value: Any, shape: type[_T], field: str = "") -> _T:
    """The value as this type. Raises `BadJson`, and `InvalidParam` for a word that is not one of those known."""
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as problem:
        what = _placed(str(problem), field)
        if "enum value" in what:
            raise InvalidParam(what) from problem
        raise BadJson(what) from problem


def fingerprint(body: dict[str, Any]) -> bytes:
    """The canonical JSON of a body without its `txn_id`. Raises `BadJson` where there is none."""
    rest = {name: value for name, value in body.items() if name != "txn_id"}
    try:
        return encode_canonical_json(rest)
    except (ValueError, RecursionError) as problem:
        raise BadJson("The body cannot be told from others") from problem


def check_length(field: str, text: str, most: int) -> None:
    """Raises `InvalidParam` for a text of more characters."""
    if len(text) > most:
        raise InvalidParam(f"{field} is longer than {most} characters")


def check_bytes(field: str, text: str, most: int) -> None:
    """Raises `InvalidParam` for a text of more bytes."""
    if len(text.encode("utf-8")) > most:
        raise InvalidParam(f"{field} is longer than {most} bytes")


def check_size(field: str, values: Collection[Any], most: int) -> None:
    """Raises `InvalidParam` for more values."""
    if len(values) > most:
        raise InvalidParam(f"{field} has more than {most} entries")


def _placed(problem: str, field: str) -> str:
    """What msgspec says, with the path of the part that it looked at."""
    if not field:
        return problem
    return problem.replace("`$", f"`$.{field}") if "`$" in problem else f"{problem} - at `$.{field}`"
