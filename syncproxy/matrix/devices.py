"""Devices: whom a poller polls for and a connection belongs to."""

from __future__ import annotations

from typing import NamedTuple


class Device(NamedTuple):
    """A user's device.

    A token without a device (made by an admin) gets a `device_id` of its own, ``token:`` and the token's SHA-256 in
    hex: such a device is polled, but has neither to-device messages nor encryption (spec/upstream.md).
    """

    user_id: str
    device_id: str

    @property
    def is_real(self) -> bool:
        """Whether the homeserver knows this device; only real ones have to-device messages and keys."""
        return not self.device_id.startswith("token:")
