"""docs/reference/openapi.yaml beside what is served: the same paths, and the parser takes exactly what it describes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.dialects import msc3575, msc4186_body, msc4186_request
from syncproxy.dialects.msc3575 import MSC3575
from syncproxy.dialects.msc3575_body import Body, ExtensionBody, FiltersBody, ListBody, OldRoomsBody, RoomBody
from syncproxy.dialects.msc4186 import MSC4186
from syncproxy.dialects.msc4186_unstable import MSC4186_UNSTABLE
from syncproxy.errors import BadJson, InvalidParam, NotJson
from syncproxy.matrix.names import Hero
from syncproxy.protocol.dialect import Dialect
from syncproxy.protocol.response import Answer, RoomAnswer
from syncproxy.web.resource import SYNC_PATHS
from tests.web.document import Schema, bad_requests, document, good_requests, problems, resolved, schema

#: which of the document's schemas is which shape of the parser
SHAPES: dict[str, Any] = {
    "Request": Body,
    "List": ListBody,
    "Room": RoomBody,
    "Filters": FiltersBody,
    "OldRooms": OldRoomsBody,
    "Extension": ExtensionBody,
}
_BOUNDS = ("maxLength", "maxItems", "maxProperties", "minimum", "x-max-bytes")


#: the schemas of the dialects' requests
DIALECTS: dict[str, Dialect] = {
    "Request": MSC3575,
    "SimplifiedRequest": MSC4186_UNSTABLE,
    "StableRequest": MSC4186,
}
#: which of the document's schemas is which shape of MSC4186's parser: all of it, on the unstable path
SIMPLIFIED_SHAPES: dict[str, Any] = {
    "SimplifiedRequest": msc4186_body.Body,
    "SimplifiedList": msc4186_body.ListBody,
    "SimplifiedRoom": msc4186_body.RoomBody,
    "SimplifiedFilters": msc4186_body.SimplifiedFilters,
    "SimplifiedState": msc4186_body.StateBody,
    "StateElement": msc4186_body.StateElement,
}


def is_taken(body: Any, dialect: Dialect = MSC3575) -> bool:
    """Whether the parser takes it."""
    try:
        dialect.parse(json.dumps(body).encode(), {})
    except (NotJson, BadJson, InvalidParam):
        return False
    return True


class DocumentTests(SynchronousTestCase):
    """The document by itself, and its names."""

    def test_valid(self) -> None:
        """It is OpenAPI 3.1."""
        validate(document())
        self.assertTrue(document()["openapi"].startswith("3.1."))

    def test_paths(self) -> None:
        """It has the paths at which sliding sync is served, and those beside them."""
        self.assertEqual({*SYNC_PATHS, "/client/server.json", "/health"}, set(document()["paths"]))

    def test_members_of_requests(self) -> None:
        """Each member that the parser knows is described, and no other."""
        _, shapes = msgspec.json.schema_components(list(SHAPES.values()))
        for name, shape in SHAPES.items():
            known = shapes[shape.__name__]["properties"]
            described = schema(name)["properties"]
            for member in {*known, *described} - {"extensions"}:
                self.assertEqual(_kinds(known[member]), _kinds(described[member]), f"{name}.{member}")
        extensions = set(schema("Request")["properties"]["extensions"]["properties"])
        self.assertEqual(msc3575._EXTENSIONS, extensions)
        self.assertEqual(extensions, set(schema("Answer")["properties"]["extensions"]["properties"]))

    def test_members_of_rooms(self) -> None:
        """Each member of a room's object is described."""
        simplified = {"expanded", "bump_stamp", "membership", "lists", "removed_state"}
        inner = {"timeline_ids", "stripped_state"}
        fields = {field.name for field in msgspec.structs.fields(RoomAnswer)} - {*inner, *simplified}
        self.assertEqual({*fields, "invite_state"}, set(schema("RoomAnswer")["properties"]))

    def test_members_of_simplified_requests(self) -> None:
        """So it is of MSC4186: the unstable path knows all words, the stable one fewer."""
        for name, shape in SIMPLIFIED_SHAPES.items():
            self.assertEqual({field.name for field in msgspec.structs.fields(shape)}, set(schema(name)["properties"]))
        for stable, all_words in (("StableRequest", "SimplifiedRequest"), ("StableList", "SimplifiedList")):
            self.assertLess(set(schema(stable)["properties"]), set(schema(all_words)["properties"]))
        for name in ("SimplifiedRequest", "StableRequest"):
            self.assertEqual(
                msc4186_request._EXTENSIONS, set(schema(name)["properties"]["extensions"]["properties"]), name
            )

    def test_members_of_simplified_rooms(self) -> None:
        """Each member that either dialect writes is described, and no other."""
        event = b'{"type":"m"}'
        whole = RoomAnswer(
            initial=True, expanded=True, name="n", avatar="a", heroes=(Hero("@u:hs", "join"),), required_state=[event],
            timeline=[event], stripped_state=b"[]", prev_batch="p", limited=True, num_live=1, notification_count=1,
            highlight_count=1, joined_count=1, invited_count=1, is_dm=True, bump_stamp=1, membership="join",
            lists=["a"], removed_state=[("m", "")],
        )  # fmt: skip
        for name, dialect in (("SimplifiedAnswer", MSC4186_UNSTABLE), ("StableAnswer", MSC4186)):
            answer = json.loads(dialect.encode(Answer("a.b.1", None, {}, {"!r:hs": whole}, {})))
            self.assertEqual([], problems(schema(name), answer))
            described = resolved(schema(name)["properties"]["rooms"]["additionalProperties"])["properties"]
            self.assertEqual(set(answer["rooms"]["!r:hs"]), set(described), name)


class ParserTests(SynchronousTestCase):
    """The parser takes what the document describes, and nothing else."""

    @settings(deadline=None, max_examples=120)
    @given(st.data(), st.sampled_from(list(DIALECTS)))
    def test_what_fits_is_taken(self, data: st.DataObject, of: str) -> None:
        """Whatever a schema allows is a request."""
        body = data.draw(good_requests(of))
        self.assertEqual([], problems(schema(of), body))
        self.assertTrue(is_taken(body, DIALECTS[of]))

    @settings(deadline=None, max_examples=400)
    @given(st.data(), st.sampled_from(list(DIALECTS)))
    def test_what_does_not_fit_is_refused(self, data: st.DataObject, of: str) -> None:
        """With one piece of it replaced, a body is refused if and only if it does not fit any more."""
        body = data.draw(bad_requests(of))
        # without a position it is not looked at
        assume(of != "StableRequest" or not isinstance(body, dict) or "timeout" not in body)
        wrong = problems(schema(of), body)
        self.assertEqual(not wrong, is_taken(body, DIALECTS[of]), wrong)

    def test_bounds(self) -> None:
        """At each bound of the document a body is taken, and one beyond it is not."""
        bounds = list(_bounds(schema("Request"), lambda value: value))
        for at_the_edge, beyond in bounds:
            self.assertEqual((True, False), (is_taken(at_the_edge), is_taken(beyond)), str(beyond)[:200])
        most = {str(name): value for name, value in vars(msc3575).items() if str(name).startswith("MAX_")}
        inner = set(most) - {"MAX_TIMELINE_LIMIT", "MAX_TIMEOUT_MS"}
        self.assertEqual({most[name] for name in inner}, set(_values(schema("Request"))) - {0})

    def test_timeout(self) -> None:
        """So is `timeout`, which is in the query."""
        parameter = document()["paths"][next(iter(SYNC_PATHS))]["post"]["parameters"][1]
        limits = parameter["schema"]
        self.assertEqual(("timeout", msc3575.DEFAULT_TIMEOUT_MS), (parameter["name"], limits["default"]))
        for taken in (limits["minimum"], limits["maximum"]):
            MSC3575.parse(b"", {"timeout": str(taken)})
        for refused in (limits["minimum"] - 1, limits["maximum"] + 1):
            self.assertRaises(InvalidParam, MSC3575.parse, b"", {"timeout": str(refused)})


def _kinds(part: Schema) -> frozenset[Any]:
    """What kinds of JSON a schema allows, ours and msgspec's spelled alike."""
    name = part.get("$ref", "").rpartition("/")[2]
    if name.endswith("Body") or name in SHAPES:
        return frozenset({SHAPES[name].__name__ if name in SHAPES else name})
    part = resolved(part)
    if "anyOf" in part:
        return frozenset().union(*(_kinds(one) for one in part["anyOf"]))
    if "enum" in part:
        return frozenset(part["enum"])
    kinds: Any = [part["type"]] if isinstance(part["type"], str) else part["type"]
    inner = part.get("prefixItems", [part.get("items") or part.get("additionalProperties")])[0]
    nested = (_kinds(inner) if inner else None, part.get("minItems"))
    return frozenset((kind, *nested) if kind in ("array", "object") else kind for kind in kinds)


def _bounds(part: Schema, put: Any) -> Iterator[tuple[Any, Any]]:
    """A body at each bound in a schema, and one beyond it; `put` makes the body around a value."""
    part = resolved(part)
    for one in part.get("anyOf", ()):
        yield from _bounds(one, put)
    for name in _BOUNDS:
        if name in part:
            yield put(_sized(part, name, 0)), put(_sized(part, name, 1))
    for name, inner in part.get("properties", {}).items():
        yield from _bounds(inner, lambda value, name=name: put({name: value}))
    if "additionalProperties" in part:
        yield from _bounds(part["additionalProperties"], lambda value: put({"a": value}))
        yield from _bounds(part.get("propertyNames", {}), lambda key: put({key: {}}))
    if part.get("items", {}).get("type") == "array":
        pair = part["items"]["minItems"]
        smallest = part["items"]["items"]
        yield put([_item(smallest, pair)]), put([_item(smallest, pair + 1)])
        yield put([_item(smallest, pair)]), put([_item(smallest, pair - 1)])
        if "minimum" in smallest:
            yield put([[0, 0]]), put([[-1, 0]])


def _item(inner: Schema, length: int) -> list[Any]:
    return list(range(length)) if inner["type"] == "integer" else ["a"] * length


def _sized(part: Schema, bound: str, beyond: int) -> Any:
    """A value at one of its bounds, or that far beyond."""
    size = part[bound] + beyond
    if bound == "minimum":
        return part[bound] - beyond
    if bound == "maxProperties":
        return {str(number): {} for number in range(size)}
    if bound == "maxItems":
        pairs = part["items"]["items"]["type"]
        return [[2 * number, 2 * number] if pairs == "integer" else ["a", str(number)] for number in range(size)]
    # a character of two bytes, so that bytes are not mistaken for characters
    return "ä" * (size // 2) + "a" * (size % 2) if bound == "x-max-bytes" else "a" * size


def _values(part: Schema) -> Iterator[int]:
    """The bounds of a schema and of all in it, save those of pairs."""
    part = resolved(part)
    yield from (part[name] for name in _BOUNDS if name in part)
    inner = [*part.get("anyOf", ()), *part.get("properties", {}).values()]
    inner += [part[name] for name in ("additionalProperties", "propertyNames") if name in part]
    for one in inner:
        yield from _values(one)
