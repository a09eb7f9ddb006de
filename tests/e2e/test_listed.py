"""What of two answers counts as a difference, and which differences the page allows."""

from __future__ import annotations

import re
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.comparing import Difference, Json, comparable, differences, named
from tests.e2e.listed import GENERAL, Listed, Row
from tests.e2e.native_case import HERE, PAGE

HEAD = "| step | field | proxy | Synapse | reason |\n| --- | --- | --- | --- | --- |\n"


def answer(**more: Any) -> Json:
    """An answer with a room."""
    return {"pos": "1", "rooms": {"!a": more}, "extensions": {}}


class ComparingTests(SynchronousTestCase):
    """Two answers."""

    def found(self, ours: Json, native: Json) -> list[Difference]:
        """How they differ."""
        return differences(*(comparable(one, ["!a"], "own") for one in (ours, native)))

    def test_alike(self) -> None:
        """Positions, ages and the order of state make no difference, and neither does an empty timeline."""
        topic = {"type": "m.room.topic", "state_key": "", "unsigned": {"age": 1}}
        name = {"type": "m.room.name", "state_key": "", "unsigned": {"age": 2}}
        ours = {**answer(required_state=[topic, name], timeline=[], bump_stamp=1), "pos": "2"}
        native = answer(required_state=[{**name, "unsigned": {"age": 3}}, topic], prev_batch="b")
        self.assertEqual(self.found(ours, native), [])

    def test_values(self) -> None:
        """A field that only one has, or that is another, is a difference."""
        found = self.found(answer(name="A", joined_count=1), answer(joined_count=2))
        self.assertEqual(
            found, [Difference("rooms.!a.joined_count", "1", "2"), Difference("rooms.!a.name", '"A"', "absent")]
        )

    def test_events(self) -> None:
        """Events are compared field by field if there are as many of them, else all at once and less of them."""
        one = {"type": "m.room.message", "event_id": "$" + "1" * 43, "unsigned": {}, "content": {"body": "one"}}
        two = {**one, "event_id": "$" + "2" * 43}
        place = "rooms.!a.timeline"
        self.assertEqual(
            self.found(answer(timeline=[one]), answer(timeline=[two])),
            [Difference(f"{place}.0.event_id", '"$"', '"$"')],
        )
        short = '[{"content": {"body": "one"}, "type": "m.room.message"}]'
        self.assertEqual(self.found(answer(timeline=[one]), answer()), [Difference(place, short, "[]")])

    def test_order(self) -> None:
        """A list that does not fit into its range has an order, and so have the client's rooms."""

        def listed(count: int, *room_ids: str) -> Json:
            ops = [{"op": "SYNC", "range": [0, 1], "room_ids": [*room_ids]}]
            return {**answer(), "lists": {"all": {"count": count, "ops": ops}}}

        self.assertEqual(self.found(listed(2, "!a", "!b"), listed(2, "!b", "!a")), [])
        self.assertEqual(len(self.found(listed(3, "!a", "!b"), listed(3, "!b", "!a"))), 1)
        one, other = (comparable(answer(), order, "own") for order in (["!a", "!b"], ["!b", "!a"]))
        self.assertEqual([found.place for found in differences(one, other)], ["order"])

    def test_own_messages(self) -> None:
        """To-device messages of the test itself are left out, others are not."""

        def told(*kinds: str) -> Json:
            return {**answer(), "extensions": {"to_device": {"events": [{"type": kind} for kind in kinds]}}}

        self.assertEqual(self.found(told("own", "other"), told("other")), [])
        self.assertEqual(len(self.found(told("own", "other"), told())), 1)

    def test_names(self) -> None:
        """Ids are replaced wherever they are."""
        self.assertEqual(named({"!x": ["@y:z"]}, {"!x": "!Room", "@y:z": "@bob"}), {"!Room": ["@bob"]})


class RowTests(SynchronousTestCase):
    """Rows of the page."""

    def unlisted(self, row: str, found: Difference, step: str = "a: one") -> list[Difference]:
        """What is left if the page has this row."""
        return Listed(HEAD + row + "\n").unlisted(step, [found])

    def test_the_very_values(self) -> None:
        """A row allows its values in its field at its step and nothing else."""
        row = "| `a: one` | `rooms.!a.name` | `1` | `absent` | Why. |"
        listed = Difference("rooms.!a.name", "1", "absent")
        self.assertEqual(self.unlisted(row, listed), [])
        for other in (
            Difference("rooms.!b.name", "1", "absent"),
            Difference("rooms.!a.name", "2", "absent"),
            Difference("rooms.!a.name", "1", "1"),
        ):
            self.assertEqual(self.unlisted(row, other), [other])
        self.assertEqual(self.unlisted(row, listed, "a: two"), [listed])

    def test_patterns(self) -> None:
        """A star stands for anything, a type for any value of it."""
        row = '| `a: *` | `rooms.*.x` | `number` | `["a", *]` | Why. |'
        self.assertEqual(self.unlisted(row, Difference("rooms.!a.x", "7", '["a", "b"]')), [])
        for wrong in (Difference("rooms.!a.x", '"7"', '["a", "b"]'), Difference("rooms.!a.x", "absent", '["a", "b"]')):
            self.assertEqual(self.unlisted(row, wrong), [wrong])
        wrong = Difference("rooms.!a.x", "true", '["b"]')
        self.assertEqual(self.unlisted(row, wrong), [wrong])

    def test_what_no_longer_occurs(self) -> None:
        """A row that did not occur in its session is told; a row about any step must occur in one session."""
        rows = ["| `a: one` | `x` | `1` | `2` | Why. |", "| `b: one` | `x` | `1` | `2` | Why. |"]
        listed = Listed(HEAD + "\n".join([*rows, "| `*` | `y` | `1` | `2` | Why. |"]) + "\n")
        self.assertEqual(listed.unseen("a"), [Row("a: one", "x", "1", "2")])
        self.assertEqual(listed.unseen(GENERAL), [Row("*", "y", "1", "2")])
        listed.unlisted("a: one", [Difference("x", "1", "2"), Difference("y", "1", "2")])
        self.assertEqual(listed.unseen("a") + listed.unseen(GENERAL), [])

    def test_the_page(self) -> None:
        """Every row of it can be read, and is of a session that is held."""
        page = PAGE.read_text()
        held = re.findall(
            r'self\.scenario\("([^"]+)"\)', "".join(path.read_text() for path in HERE.glob("test_native*"))
        )
        read = [row for name in held for row in Listed(page).unseen(name)]
        self.assertEqual(len(read), page.count("\n| `"))
