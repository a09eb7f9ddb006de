"""Edits and thread replies, and how they are bundled with what they are about."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.matrix.parsing import parse_event
from syncproxy.matrix.relations import (
    Bundled,
    Relation,
    bundled,
    can_have,
    relation,
    relation_of,
    with_edit,
    with_reply,
    without_redacted,
    without_relations,
)
from tests.matrix.test_parsing import Json, raw, text, values
from tests.rooms.events import edit, event, reply

EDIT, THREAD = Relation("m.replace", "$1"), Relation("m.thread", "$1")
#: what a member may be that should be an object, with names that mean something among others
names = st.sampled_from(("m.relations", "m.replace", "m.thread", "m.reference", "latest_event", "chunk", "event_id"))
odd = st.recursive(
    values, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=4), max_leaves=12
)


def relations(event: bytes) -> Json:
    """What is bundled with an event."""
    found: Json = json.loads(event)["unsigned"].get("m.relations", {})
    return found


class RelationTests(SynchronousTestCase):
    """What an event says that it is about."""

    def test_edit(self) -> None:
        """An edit names what it replaces; it is none without the new content, save if that is encrypted."""
        self.assertEqual(edit("$2", "$1").relation, EDIT)
        about = {"m.relates_to": {"rel_type": "m.replace", "event_id": "$1"}}
        self.assertIsNone(event("$2", content=about).relation)
        self.assertIsNone(event("$2", content={**about, "m.new_content": "x"}).relation)
        self.assertEqual(event("$2", "m.room.encrypted", content=about).relation, EDIT)

    def test_reply(self) -> None:
        """A thread's reply names the event that began it."""
        self.assertEqual(reply("$2", "$1").relation, THREAD)

    def test_others(self) -> None:
        """Reactions and references are not bundled; state events are about nothing; nor is what names no event."""
        for kind in ("m.annotation", "m.reference", 5, None):
            about = {"rel_type": kind, "event_id": "$1"}
            self.assertIsNone(event("$2", content={"m.relates_to": about}).relation)
        for event_id in ("", "a\x00b", 5, None):
            about = {"rel_type": "m.thread", "event_id": event_id}
            self.assertIsNone(event("$2", content={"m.relates_to": about}).relation)
        self.assertIsNone(reply("$2", "$1", state_key="").relation)

    @given(content=odd)
    def test_anything(self, content: Any) -> None:
        """Whatever the content is, it is no error."""
        self.assertIsNone(relation("m.room.message", json.dumps({"m.relates_to": content}).encode()))
        relation("m.room.message", json.dumps(content).encode())

    def test_of_an_event(self) -> None:
        """A stored event says the same as when it came."""
        self.assertEqual(relation_of(reply("$2", "$1").json), THREAD)
        self.assertEqual(relation_of(edit("$2", "$1").json), EDIT)
        self.assertIsNone(relation_of(event("$2").json))

    def test_what_can_have_one(self) -> None:
        """A reply can be edited, a thread begins at an event about none; with redacted ones nothing is bundled."""
        redacted = event("$1", unsigned={"redacted_because": {}})
        for one, can in ((event("$1"), (True, True)), (reply("$1", "$0"), (True, False)), (redacted, (False, False))):
            self.assertEqual((can_have(one.json, "m.replace"), can_have(one.json, "m.thread")), can)
        self.assertFalse(can_have(edit("$1", "$0").json, "m.replace"))


class BundlingTests(SynchronousTestCase):
    """What is bundled with an event."""

    @given(content=st.dictionaries(text, values, max_size=3), unsigned=st.dictionaries(text, values, max_size=2))
    def test_only_that(self, content: Json, unsigned: Json) -> None:
        """An edit changes nothing else of the event, and it is as it was when nothing is bundled any more."""
        whole = raw(content=content, unsigned=unsigned)
        edited = with_edit(whole, edit("$2", "$e").json)
        self.assertEqual(relations(edited), {"m.replace": json.loads(edit("$2", "$e").json)})
        self.assertEqual(json.loads(without_relations(edited)), json.loads(whole))
        self.assertIs(without_relations(whole), whole)

    def test_newest_edit(self) -> None:
        """The newest by their times is bundled, whichever came last; of two at one time that with the greater id."""
        edits = [edit("$b", "$1", origin_server_ts=2), edit("$c", "$1", origin_server_ts=2), edit("$a", "$1")]
        edits[2] = edit("$a", "$1", origin_server_ts=1)
        whole = event("$1").json
        for one in edits:
            whole = with_edit(whole, one.json)
        self.assertEqual(relations(whole)["m.replace"]["event_id"], "$c")

    def test_thread(self) -> None:
        """The newest reply to come is bundled, with how many there are; the one that is there is not counted twice."""
        whole = event("$1").json
        for event_id in ("$2", "$3", "$3"):
            whole = with_reply(whole, reply(event_id, "$1").json)
        thread = relations(whole)["m.thread"]
        self.assertEqual((thread["latest_event"]["event_id"], thread["count"]), ("$3", 2))

    def test_beside_others(self) -> None:
        """What else the homeserver bundled stays; the count goes on from its own."""
        given = {"m.x": 1, "m.thread": {"count": 7, "latest_event": {"event_id": "$2"}, "y": 2}}
        whole = with_reply(raw(unsigned={"m.relations": given}), reply("$3", "$e").json)
        told = relations(with_edit(whole, edit("$4", "$e").json))
        self.assertEqual((told["m.x"], told["m.thread"]["count"], told["m.thread"]["y"]), (1, 8, 2))
        self.assertEqual(told["m.replace"]["event_id"], "$4")

    def test_bundles_are_not_nested(self) -> None:
        """What is bundled with an edit or a reply is not bundled again."""
        bundle = {"m.relations": {"m.replace": {"event_id": "$9"}}}
        for with_one, one in ((with_reply, reply), (with_edit, edit)):
            self.assertNotIn(b"$9", with_one(event("$1").json, one("$2", "$1", unsigned=bundle).json))

    def test_what_there_is(self) -> None:
        """The events in a bundle are found, with their senders, those within them included."""
        nested = {"m.replace": {"event_id": "$3", "sender": "@b:hs"}}
        latest = {"event_id": "$2", "sender": "@a:hs", "unsigned": {"m.relations": nested}}
        told = {"m.thread": {"latest_event": latest}, "m.reference": {"chunk": [{"event_id": "$4"}]}}
        found = parse_event(raw(unsigned={"m.relations": told})).bundled
        self.assertEqual(found, (Bundled("$2", "@a:hs"), Bundled("$3", "@b:hs"), Bundled("$4")))

    def test_what_is_not_known(self) -> None:
        """Of a relation that nobody knows, and of one that is too deep, it is said that there is something."""
        self.assertEqual(bundled(raw(unsigned={"m.relations": {"m.x": {}}})), (Bundled(),))
        inner: Json = {"event_id": "$0"}
        for number in (1, 2, 3):
            inner = {"event_id": f"${number}", "unsigned": {"m.relations": {"m.replace": inner}}}
        self.assertEqual([one.event_id for one in bundled(json.dumps(inner).encode())], ["$2", "$1", ""])

    @given(told=odd)
    def test_anything(self, told: Any) -> None:
        """Whatever came bundled, it is no error, and it goes when it has to."""
        whole = raw(unsigned={"m.relations": told})
        self.assertLessEqual(len(parse_event(whole).bundled), len(whole))
        for changed in (with_edit(whole, edit("$2", "$e").json), with_reply(whole, reply("$2", "$e").json)):
            self.assertIn(Bundled("$2", "@alice:hs"), bundled(changed))
            self.assertEqual(bundled(without_relations(changed)), ())


class RedactionTests(SynchronousTestCase):
    """What is bundled of an event that is redacted."""

    pruned = b'{"event_id":"$2","content":{}}'

    def test_edit(self) -> None:
        """It goes; another one than the newest was not there."""
        whole = with_edit(event("$1").json, edit("$2", "$1").json)
        self.assertEqual(relations(without_redacted(whole, EDIT, "$2", self.pruned)), {})
        self.assertIs(without_redacted(whole, EDIT, "$3", self.pruned), whole)

    def test_newest_reply(self) -> None:
        """It is shown pruned, and not counted; with the only one the thread goes."""
        one = with_reply(event("$1").json, reply("$3", "$1").json)
        two = without_redacted(with_reply(one, reply("$2", "$1").json), THREAD, "$2", self.pruned)
        self.assertEqual(relations(two), {"m.thread": {"count": 1, "latest_event": json.loads(self.pruned)}})
        self.assertEqual(relations(without_redacted(one, THREAD, "$3", self.pruned)), {})

    def test_older_reply(self) -> None:
        """It is not counted any more."""
        whole = event("$1").json
        for event_id in ("$2", "$3"):
            whole = with_reply(whole, reply(event_id, "$1").json)
        thread = relations(without_redacted(whole, THREAD, "$2", self.pruned))["m.thread"]
        self.assertEqual((thread["count"], thread["latest_event"]["event_id"]), (1, "$3"))

    def test_edit_of_the_newest_reply(self) -> None:
        """An edit that the homeserver bundled with a thread's newest reply goes from it, and the reply stays."""
        latest = {"event_id": "$r", "unsigned": {"m.relations": {"m.replace": {"event_id": "$2"}}}}
        whole = raw(unsigned={"m.relations": {"m.thread": {"count": 1, "latest_event": latest}}})
        left = without_redacted(whole, Relation("m.replace", "$r"), "$2", self.pruned)
        told = {"event_id": "$r", "unsigned": {}}
        self.assertEqual(relations(left), {"m.thread": {"count": 1, "latest_event": told}})

    def test_of_another(self) -> None:
        """An event with nothing of it is as it was."""
        whole = event("$1").json
        for about in (EDIT, THREAD, Relation("m.thread", "$0")):
            self.assertIs(without_redacted(whole, about, "$2", self.pruned), whole)
