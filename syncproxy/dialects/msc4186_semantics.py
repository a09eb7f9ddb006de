"""What MSC4186 means differently from MSC3575, in both its dialects."""

from __future__ import annotations

from syncproxy.protocol.dialect import ExtensionRules, ListRules, Semantics

SIMPLIFIED = Semantics(
    sticky=False,
    zero_is_absent=False,
    forgets_hidden_rooms=False,
    most_live_events=None,
    ops="slices",
    lists=ListRules(
        memberships=frozenset({"join", "invite", "knock", "removed"}),
        hides_replaced=False,
        spaces_follow_tombstones=False,
        invites_may_be_direct=False,
        unstated_is_false=False,
        sorted_by_activity=True,
    ),
    extensions=ExtensionRules(
        repeats_key_facts=True,
        lists_devices_at_first=False,
        resumes_messages=True,
        repeats_room_data=False,
        types_on_entry=True,
    ),
    survives_restarts=True,
    rooms="msc4186",
)
