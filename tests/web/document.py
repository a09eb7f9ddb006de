"""docs/reference/openapi.yaml as tests use it: what fits its schemas, and whether an answer does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any

import yaml
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from tests.docs.pages import page

Json = Any
Schema = Mapping[str, Any]


@cache
def document() -> dict[str, Any]:
    """The document. Raises SkipTest where there is only the installed package."""
    read: dict[str, Any] = yaml.safe_load(page("reference/openapi.yaml"))
    return read


def resolved(part: Schema) -> Schema:
    """A part of the document, or what it refers to."""
    while "$ref" in part:
        found: Any = document()
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        part = found
    return part


def schema(name: str) -> Schema:
    """One of the named schemas."""
    return resolved({"$ref": f"#/components/schemas/{name}"})


# What a schema says of JSON


def _is_disjoint(_: Any, wanted: bool, ranges: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(ranges, list) and all(_is_pair(one) for one in ranges):
        ordered = sorted(ranges)
        if any(first > last for first, last in ordered) or any(one[1] >= two[0] for one, two in pairwise(ordered)):
            yield ValidationError("ranges are reversed or overlap")


def _is_pair(one: Any) -> bool:
    return isinstance(one, list) and len(one) == 2 and all(isinstance(number, int) for number in one)


def _is_short(_: Any, most: int, text: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(text, str) and len(text.encode("utf-8")) > most:
        yield ValidationError(f"longer than {most} bytes")


def _is_ordered(_: Any, wanted: bool, pair: Any, __: Any) -> Iterator[ValidationError]:
    if _is_pair(pair) and pair[0] > pair[1]:
        yield ValidationError("the range is reversed")


#: knows what the document says beyond JSON Schema
_Validator = extend(
    Draft202012Validator, {"x-disjoint": _is_disjoint, "x-max-bytes": _is_short, "x-ordered": _is_ordered}
)


def problems(of: Schema, value: Json) -> list[str]:
    """What is wrong with a value, by a schema of the document."""
    whole = {"allOf": [of], "components": document()["components"]}
    return [f"{error.json_path}: {error.message[:200]}" for error in _Validator(whole).iter_errors(value)]


def answer_problems(operation: Schema, status: int, content_type: str | None, answer: Json) -> list[str]:
    """What is wrong with an answer to an operation: its status, its kind, its body."""
    responses = operation["responses"]
    if str(status) not in responses:
        return [f"status {status}"]
    content = resolved(responses[str(status)])["content"]
    if content_type not in content:
        return [f"content type {content_type}"]
    return [f"{status}: {problem}" for problem in problems(content[content_type]["schema"], answer)]


# JSON that fits a schema

#: what stands for a value of any kind; floats are never whole, for JSON Schema takes 1.0 for an integer
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.sampled_from([0.5, -2.5, 1e300 + 0.5]) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
).filter(lambda value: value != 1e300)


def _whole(value: Json) -> Json:
    return value


def _in_list(value: Json) -> Json:
    return {"lists": {"a": value}}


def _in_room(value: Json) -> Json:
    return {"room_subscriptions": {"!r:hs": value}}


def _in_extensions(value: Json) -> Json:
    return {"extensions": {"to_device": value}}


def _least(**more: Json) -> Json:
    """What a list or subscription of the stable dialect must have, and more; each is changed by who has it."""
    return {"required_state": {}, "timeline_limit": 1, **more}


#: by the schema of a whole request: where in it each schema stands
PLACES: Mapping[str, Mapping[str, Callable[[Json], Json]]] = {
    "Request": {
        "Request": _whole,
        "List": _in_list,
        "Room": _in_room,
        "Filters": lambda value: _in_list({"filters": value}),
        "OldRooms": lambda value: _in_list({"include_old_rooms": value}),
        "Extension": _in_extensions,
    },
    "SimplifiedRequest": {
        "SimplifiedRequest": _whole,
        "SimplifiedList": _in_list,
        "SimplifiedRoom": _in_room,
        "SimplifiedFilters": lambda value: _in_list({"filters": value}),
        "SimplifiedState": lambda value: _in_room({"required_state": value}),
        "StateElement": lambda value: _in_room({"required_state": {"include": [value]}}),
        "Extension": _in_extensions,
    },
    "StableRequest": {
        "StableRequest": _whole,
        "StableList": _in_list,
        "StableRoom": _in_room,
        "SimplifiedFilters": lambda value: _in_list(_least(filters=value)),
        "StableState": lambda value: _in_room(_least(required_state=value)),
        "StateElement": lambda value: _in_room(_least(required_state={"include": [value]})),
        "Extension": _in_extensions,
    },
}


@cache
def good_requests(of: str = "Request") -> st.SearchStrategy[Json]:
    """Bodies of sync requests as the document describes them."""
    return st.one_of([fitting(schema(name)).map(put) for name, put in PLACES[of].items()])


@cache
def bad_requests(of: str = "Request") -> st.SearchStrategy[Json]:
    """Bodies of sync requests of which one piece was replaced by something else; they may still fit."""
    return _broken(good_requests(of))


def fitting(part: Schema) -> st.SearchStrategy[Json]:
    """JSON as the schema describes it; not at its bounds, which are too far away."""
    part = resolved(part)
    if "anyOf" in part:
        return st.one_of([fitting(one) for one in part["anyOf"]])
    if "enum" in part:
        return st.sampled_from(part["enum"])
    if "x-ordered" in part:
        return st.none() | st.tuples(st.integers(0, 2**40), st.integers(0, 2**40)).map(sorted)
    if "type" not in part:
        return ANYTHING
    if "x-disjoint" in part:
        edges = st.lists(st.integers(0, 2**40) | st.integers(0, 60), unique=True, max_size=8)
        return st.none() | edges.map(lambda found: [list(one) for one in list(pairwise(sorted(found)))[::2]])
    kinds = [part["type"]] if isinstance(part["type"], str) else part["type"]
    return st.one_of([_FITTING[kind](part) for kind in kinds])


def _object(part: Schema) -> st.SearchStrategy[Json]:
    members = {name: fitting(one) for name, one in part.get("properties", {}).items()}
    if "additionalProperties" in part:
        letters = "aZ0.~_-" if "pattern" in part.get("propertyNames", {}) else None
        keys = st.text(max_size=8) if letters is None else st.text(letters, min_size=1, max_size=8)
        return st.dictionaries(keys, fitting(part["additionalProperties"]), max_size=3)
    # what is not named is let pass
    strange = st.dictionaries(st.just("org.example.strange"), ANYTHING, max_size=1)
    needed = {name: members.pop(name) for name in part.get("required", ())}
    return st.tuples(st.fixed_dictionaries(needed, optional=members), strange).map(lambda both: {**both[1], **both[0]})


def _array(part: Schema) -> st.SearchStrategy[Json]:
    return st.lists(fitting(part["items"]), min_size=part.get("minItems", 0), max_size=min(part.get("maxItems", 4), 4))


_FITTING: dict[str, Any] = {
    "null": lambda part: st.none(),
    "boolean": lambda part: st.booleans(),
    "integer": lambda part: st.integers(part.get("minimum", -(2**70)), part.get("maximum", 2**70)),
    "string": lambda part: st.text(max_size=min(part.get("maxLength", 16), 16)),
    "array": _array,
    "object": _object,
}


@st.composite
def _broken(draw: st.DrawFn, good: st.SearchStrategy[Json]) -> Json:
    whole = draw(good)
    *way, last = draw(st.sampled_from(list(_places(whole))))
    inner = whole
    for step in way:
        inner = inner[step]
    inner[last] = draw(ANYTHING)
    return whole


def _places(value: Json, *way: Any) -> Iterator[tuple[Any, ...]]:
    """The ways to all that is inside a value, and to a member that is not there yet."""
    if isinstance(value, dict):
        yield (*way, "lists")
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*way, key)
        yield from _places(inner, *way, key)
