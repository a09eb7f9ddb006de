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
from syncproxy.rooms.changes import DeviceFacts
from syncproxy.storage.reader import Reader
from syncproxy.storage.work import AcknowledgeDeviceLists
from syncproxy.storage.writer import Writer


@attrs.frozen
class _Delta:
    """What the client will know: device lists up to a nid, and the key facts as last sent."""

    up_to: int
    counts: bytes | None
    fallback: bytes | None


_NOTHING = _Delta(0, None, None)


class E2eeExtension:
    """Counts and fallback types in the first answer and when they changed, or always; device lists until acknowledged.

    Where clients refresh all device lists on the first answer, what is unacknowledged comes in the second.
    """

    def __init__(self, device: Device, reader: Reader, writer: Writer) -> None:
        self._device = device
        self._reader = reader
        self._writer = writer
        #: `None`: before the first answer
        self._known: _Delta | None = None
        #: what was told last of which facts to a client that knew what, and left that as it was
        self._repeated: tuple[DeviceFacts, _Delta, Extended] | None = None

    async def answer(self, params: ExtensionParams, context: Context) -> Extended:
        """What is new; one statement if device lists changed, none otherwise."""
        facts, rules = context.user.facts(self._device.device_id), context.rules
        if self._repeated is not None and self._repeated[0] is facts and self._repeated[1] is self._known:
            return self._repeated[2]
        known = self._known or _NOTHING
        members: list[bytes] = []
        up_to = known.up_to
        if facts.device_list_position > up_to and (self._known is not None or rules.lists_devices_at_first):
            rows = await self._reader.device_list_changes(self._device, up_to, facts.device_list_position)
            up_to = facts.device_list_position
            if rows:
                members.append(b'"device_lists":' + merged_device_lists((user, kind) for _, user, kind in rows))
        news = bool(members)
        counts, fallback = facts.one_time_key_counts, facts.unused_fallback_key_types
        for name, now, sent in (
            (b"device_one_time_keys_count", counts, known.counts),
            (b"device_unused_fallback_key_types", fallback, known.fallback),
        ):
            is_new = now is not None and _differs(now, sent)
            news = news or is_new
            if now is not None and (is_new or rules.repeats_key_facts):
                members.append(b'"%b":%b' % (name, now))
        then = _Delta(up_to, counts or known.counts, fallback or known.fallback)
        delta = None if then == self._known else then
        said = Extended(b"{%b}" % b",".join(members) if members else None, news, delta)
        if self._known is not None and delta is None and not news:
            self._repeated = facts, self._known, said
        return said

    def fold(self, delta: Any) -> None:
        """The client has the changes: only now may they be forgotten."""
        if delta.up_to > (self._known or _NOTHING).up_to:
            acknowledge(self._writer, AcknowledgeDeviceLists(self._device, delta.up_to))
        self._known = delta

    def packed(self, delta: Any) -> dict[str, Any]:
        """What the client knows."""
        then = delta or self._known
        return {} if then is None else attrs.asdict(then)

    def restore(self, packed: dict[str, Any]) -> None:
        """Begin with what was kept; changes that the client has are forgotten, if that was not stored."""
        if packed:
            self.fold(_Delta(**packed))


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
