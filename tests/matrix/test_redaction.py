"""Pruning, room version by room version."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.matrix.redaction import redact

Json = dict[str, Any]
REDACTION = b'{"type": "m.room.redaction",  "event_id":"$r"}'
VERSIONS = [str(number) for number in range(1, 13)]


def content(type: str, room_version: str, /, **members: Any) -> Json:
    """What is left of a content."""
    pruned: Json = json.loads(redact(json.dumps({"type": type, "content": members}).encode(), REDACTION, room_version))
    left: Json = pruned["content"]
    return left


class ChainTests(SynchronousTestCase):
    """Redactions that are redacted themselves."""

    def test_chain(self) -> None:
        """However long a chain of them is, an event can be decoded, and names the redaction it was pruned by."""
        event = REDACTION
        for number in range(1000):
            event = redact(b'{"type": "m.room.redaction", "event_id": "$%d"}' % number, event, "11")
        found = json.loads(event)
        self.assertEqual((found["event_id"], found["unsigned"]["redacted_because"]["event_id"]), ("$999", "$998"))


class RedactionTests(SynchronousTestCase):
    """What stays of a redacted event."""

    def versions_with(self, type: str, member: str, value: Any = "x") -> list[str]:
        """The room versions in which a member of this content stays."""
        found = []
        for version in VERSIONS:
            left = content(type, version, **{member: value})
            self.assertIn(left, ({}, {member: value}))
            found += [version] if left else []
        return found

    def test_message(self) -> None:
        """Nothing of a message's content stays, in any version."""
        self.assertEqual(self.versions_with("m.room.message", "body"), [])

    def test_member(self) -> None:
        """A membership always stays, who authorised the join from 9 on, and the profile never."""
        self.assertEqual(self.versions_with("m.room.member", "membership"), VERSIONS)
        self.assertEqual(self.versions_with("m.room.member", "join_authorised_via_users_server"), VERSIONS[8:])
        self.assertEqual(self.versions_with("m.room.member", "displayname"), [])

    def test_third_party_invite(self) -> None:
        """From 11 on, what was signed of a third-party invite stays, and nothing else of it."""
        invite = {"signed": {"token": "t"}, "display_name": "Bob"}
        self.assertEqual(content("m.room.member", "10", third_party_invite=invite), {})
        left = content("m.room.member", "11", third_party_invite=invite)
        self.assertEqual(left, {"third_party_invite": {"signed": {"token": "t"}}})
        self.assertEqual(content("m.room.member", "11", third_party_invite="x"), {})

    def test_create(self) -> None:
        """The creator stays until 10; from 11 on everything does."""
        self.assertEqual(self.versions_with("m.room.create", "creator"), VERSIONS)
        self.assertEqual(self.versions_with("m.room.create", "type"), VERSIONS[10:])

    def test_join_rules(self) -> None:
        """The rule stays, and whom it lets in from 8 on."""
        self.assertEqual(self.versions_with("m.room.join_rules", "join_rule"), VERSIONS)
        self.assertEqual(self.versions_with("m.room.join_rules", "allow", [{}]), VERSIONS[7:])

    def test_power_levels(self) -> None:
        """Levels stay, that of inviting from 11 on, and that of notifications never."""
        for name in ("ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default"):
            self.assertEqual(self.versions_with("m.room.power_levels", name, 50), VERSIONS)
        self.assertEqual(self.versions_with("m.room.power_levels", "invite", 50), VERSIONS[10:])
        self.assertEqual(self.versions_with("m.room.power_levels", "notifications", {}), [])

    def test_others(self) -> None:
        """History visibility stays; aliases until 5; what a redaction redacts from 11 on."""
        self.assertEqual(self.versions_with("m.room.history_visibility", "history_visibility"), VERSIONS)
        self.assertEqual(self.versions_with("m.room.aliases", "aliases", []), VERSIONS[:5])
        self.assertEqual(self.versions_with("m.room.redaction", "redacts", "$x"), VERSIONS[10:])

    def test_experiments(self) -> None:
        """A version that is no number is taken for a recent one."""
        for version in ("org.example.12", "", "²"):
            self.assertEqual(content("m.room.create", version, type="m.space"), {"type": "m.space"})

    def test_top_level(self) -> None:
        """Ids, hashes and times stay as the bytes they were; unknown members and the old `unsigned` go."""
        event = b'{"event_id":"$e","type":"x","depth":1.50,"origin":"hs","extra":1,"content":{},"unsigned":{"age":1}}'
        pruned = redact(event, REDACTION, "10")
        self.assertEqual(set(json.loads(pruned)), {"event_id", "type", "depth", "origin", "content", "unsigned"})
        self.assertIn(b'"depth":1.50', pruned)
        self.assertNotIn("origin", json.loads(redact(event, REDACTION, "11")))

    def test_because(self) -> None:
        """The redaction goes along, as it came."""
        pruned = redact(b'{"type":"x","content":{}}', REDACTION, "10")
        self.assertIn(b'"unsigned":{"redacted_because":' + REDACTION + b"}", pruned)

    def test_content_that_is_none(self) -> None:
        """A content that is no object becomes an empty one."""
        for event in (b'{"type":"m.room.create","content":5}', b'{"type":"m.room.create"}'):
            self.assertEqual(json.loads(redact(event, REDACTION, "11"))["content"], {})
