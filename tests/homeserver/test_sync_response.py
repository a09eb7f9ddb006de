"""Decoding answers of `/sync`: what is missing, null or wrong costs nothing else."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.homeserver.sync_response import JoinBlock, SyncResponse, parse_sync


def parsed(body: Any, dropped: list[str] | None = None) -> SyncResponse:
    """The response of this JSON."""
    told: list[str] = [] if dropped is None else dropped
    return parse_sync(json.dumps(body).encode(), told.append)


class ParseSyncTests(SynchronousTestCase):
    """`parse_sync`."""

    def test_empty(self) -> None:
        """Null and `{}` are empty responses."""
        self.assertEqual(parsed(None), SyncResponse())
        self.assertEqual(parsed({}), SyncResponse())

    def test_null_containers(self) -> None:
        """Null containers are empty ones."""
        response = parsed({"rooms": {"join": None}, "account_data": {"events": None}, "to_device": None})
        assert response.rooms is not None
        assert response.account_data is not None
        self.assertEqual((response.rooms.join, list(response.account_data)), (None, []))

    def test_events_stay_bytes(self) -> None:
        """Events are not decoded."""
        response = parse_sync(b'{"account_data":{"events":[{"type":  "x"}]}}')
        assert response.account_data is not None
        self.assertEqual([bytes(raw) for raw in response.account_data], [b'{"type":  "x"}'])

    def test_unstable_names(self) -> None:
        """Fallback key types come under their older name too."""
        response = parsed({"org.matrix.msc2732.device_unused_fallback_key_types": ["x"]})
        self.assertEqual(bytes(response.msc2732_fallback), b'["x"]')

    def test_state_after(self) -> None:
        """State after the timeline is seen from its key, the stable or the unstable one."""
        stable = msgspec.json.decode(b'{"state_after":{"events":[]}}', type=JoinBlock)
        unstable = msgspec.json.decode(b'{"org.matrix.msc4222.state_after":{}}', type=JoinBlock)
        self.assertIsNotNone(stable.state_after)
        self.assertIsNotNone(unstable.msc4222_state_after)

    def test_bad_section(self) -> None:
        """A section of the wrong shape is left out alone, and told of."""
        dropped: list[str] = []
        response = parsed({"next_batch": "s1", "device_lists": [], "rooms": {"join": {"!r": {}}}}, dropped)
        assert response.rooms is not None
        assert response.rooms.join is not None
        self.assertEqual((response.next_batch, list(response.rooms.join)), ("s1", ["!r"]))
        self.assertEqual((response.device_lists, dropped), (None, ["device_lists"]))

    def test_no_answer(self) -> None:
        """What is no JSON object raises."""
        for body in (b"[]", b"5", b"<html>", b'{"next_batch":', b""):
            self.assertRaises(msgspec.DecodeError, parse_sync, body)
