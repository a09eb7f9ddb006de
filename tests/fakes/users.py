"""Accounts of the scripted homeserver: their devices, tokens, account data and to-device messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass
class FakeDevice:
    """One login: its to-device messages wait until a `since` acknowledges them."""

    user_id: str
    device_id: str
    #: (stream position, message), oldest first
    to_device: list[tuple[int, Json]] = field(default_factory=list)
    key_counts: dict[str, int] = field(default_factory=lambda: {"signed_curve25519": 50})
    fallback_key_types: list[str] = field(default_factory=lambda: ["signed_curve25519"])
    #: a poll with an older `since` is answered even if nothing else is new
    wake_at: int = 0

    def acknowledge(self, position: int) -> None:
        """Forget messages up to `position`: the client has them."""
        self.to_device = [(at, message) for at, message in self.to_device if at > position]


@dataclass
class FakeUser:
    """An account; `account_data` maps (room id or None, type) to (stream position, content)."""

    user_id: str
    displayname: str | None = None
    avatar_url: str | None = None
    devices: dict[str, FakeDevice] = field(default_factory=dict)
    account_data: dict[tuple[str | None, str], tuple[int, Json]] = field(default_factory=dict)
    #: stream positions at which this user's devices or keys changed
    device_changes: list[int] = field(default_factory=list)

    def profile(self) -> Json:
        """What goes into this user's member events."""
        found = {"displayname": self.displayname, "avatar_url": self.avatar_url}
        return {key: value for key, value in found.items() if value is not None}

    def account_data_events(self, room_id: str | None, after: int) -> list[Json]:
        """Account data of one room, or global, set after a stream position."""
        return [
            {"type": kind, "content": content}
            for (room, kind), (at, content) in self.account_data.items()
            if room == room_id and at > after
        ]

    @property
    def ignored(self) -> frozenset[str]:
        """Whom `m.ignored_user_list` names."""
        _, content = self.account_data.get((None, "m.ignored_user_list"), (0, {}))
        named: Mapping[str, Any] = content.get("ignored_users", {})
        return frozenset(named)


@dataclass(frozen=True)
class AccessToken:
    """Whose a token is; `state` is `valid`, `revoked` or `expired` (soft logout)."""

    user_id: str
    device_id: str | None
    state: str = "valid"
