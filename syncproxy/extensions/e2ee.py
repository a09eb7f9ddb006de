"""e2ee (MSC3884): whose devices changed, and how many keys of this device are left."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
import msgspec

from syncproxy.extensions.acknowledging import acknowledge
from syncproxy.extensions.core import Context, Extended
from syncproxy.matrix.devices import Device
from syncproxy.protocol.request import ExtensionParams
from syncproxy.storage.reader import Reader
from syncproxy.storage.work import AcknowledgeDeviceLists
from syncproxy.storage.writer import Writer


@attrs.frozen
class _Delta:
    """What the client will know: device lists up to a nid, and the key facts as last sent."""

    up_to: int
    counts: bytes | None
    fallback: bytes | None


class E2eeExtension:
    """Counts and fallback types in the first answer and when they changed; device lists until acknowledged."""

    def __init__(self, device: Device, reader: Reader, writer: Writer) -> None:
        self._device = device
        self._reader = reader
        self._writer = writer
        self._known = _Delta(0, None, None)

    async def answer(self, params: ExtensionParams, context: Context) -> Extended:
        """What is new; one statement if device lists changed, none otherwise."""
        facts = context.user.facts(self._device.device_id)
        known = self._known
        members: list[bytes] = []
        if facts.device_list_position > known.up_to:
            rows = await self._reader.device_list_changes(self._device, known.up_to, facts.device_list_position)
            if rows:
                members.append(b'"device_lists":' + merged_device_lists((user, kind) for _, user, kind in rows))
        counts, fallback = facts.one_time_key_counts, facts.unused_fallback_key_types
        if counts is not None and _differs(counts, known.counts):
            members.append(b'"device_one_time_keys_count":%b' % counts)
        if fallback is not None and _differs(fallback, known.fallback):
            members.append(b'"device_unused_fallback_key_types":%b' % fallback)
        then = _Delta(max(known.up_to, facts.device_list_position), counts or known.counts, fallback or known.fallback)
        delta = None if then == known else then
        if not members:
            return Extended(delta=delta)
        return Extended(b"{%b}" % b",".join(members), True, delta)

    def fold(self, delta: Any) -> None:
        """The client has the changes: only now may they be forgotten."""
        if delta.up_to > self._known.up_to:
            acknowledge(self._writer, AcknowledgeDeviceLists(self._device, delta.up_to))
        self._known = delta


def merged_device_lists(changes: Iterable[tuple[str, str]]) -> bytes:
    """The `device_lists` object, from `(user_id, "changed" | "left")` oldest first: a user's last one counts."""
    last: dict[str, str] = {}
    for user_id, kind in changes:
        last[user_id] = kind
    changed = [user_id for user_id, kind in last.items() if kind == "changed"]
    left = [user_id for user_id, kind in last.items() if kind == "left"]
    return msgspec.json.encode({"changed": changed, "left": left})


def _differs(now: bytes, sent: bytes | None) -> bool:
    """Whether there is something to tell; the order of members makes no difference."""
    if now == sent:
        return False
    return sent is None or bool(msgspec.json.decode(now) != msgspec.json.decode(sent))
