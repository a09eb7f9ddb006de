"""to_device (MSC3885): messages to this device, at least once and in order, until the client says it has them."""

from __future__ import annotations

from typing import Any

from syncproxy.extensions.acknowledging import acknowledge
from syncproxy.extensions.core import Context, Extended
from syncproxy.extensions.deliveries import Delivery
from syncproxy.extensions.since_tokens import SinceTokens
from syncproxy.extensions.to_device_pages import Row, ToDevicePages
from syncproxy.matrix.devices import Device
from syncproxy.protocol.request import ExtensionParams
from syncproxy.storage.work import AcknowledgeToDevice
from syncproxy.storage.writer import Writer

_DEFAULT_LIMIT = 100
_MOST = 1000


class ToDeviceExtension:
    """The messages after the client's `since`, and the token that will acknowledge them.

    Only a `since` acknowledges; a `pos` does not. So `fold` only remembers what the connection was handed, which
    tells messages that are news from those that are repeated.
    """

    def __init__(
        self, device: Device, pages: ToDevicePages, writer: Writer, tokens: SinceTokens, delivery: Delivery
    ) -> None:
        self._device = device
        self._pages = pages
        self._writer = writer
        self._tokens = tokens
        self._delivery = delivery
        self._known = 0
        #: what is said while there is nothing after a nid, and that nid
        self._nothing: tuple[int, Extended] | None = None

    async def answer(self, params: ExtensionParams, context: Context) -> Extended:
        """Always a block; reads the database only if the device has messages after `since`."""
        after = self._acknowledge(params.since)
        if params.since is None and context.rules.resumes_messages:
            # they stay stored all the same: another connection of the device may not have them
            after = max(after, self._known)
        newest = context.user.facts(self._device.device_id).to_device_position
        rows: list[Row] = []
        if newest <= after <= self._known:
            return self._none_after(after)
        if newest > after:
            limit = min(max(params.limit or _DEFAULT_LIMIT, 1), _MOST)
            rows, after = await self._pages.page(after, newest, limit)
        events = b",".join(message for _, message in rows)
        data = self._block(after, events)
        news = any(nid > self._known for nid, _ in rows)
        # another connection of the device may acknowledge them
        return Extended(data, news, after if after > self._known else None, repeats=bool(rows))

    def fold(self, delta: Any) -> None:
        """The client was handed everything up to this nid."""
        self._known = max(self._known, delta)

    def packed(self, delta: Any) -> dict[str, Any]:
        """Up to where the client was handed messages."""
        return {"up_to": max(self._known, delta or 0)}

    def restore(self, packed: dict[str, Any]) -> None:
        """Begin with what was kept."""
        self._known = packed.get("up_to", 0)

    def _none_after(self, nid: int) -> Extended:
        if self._nothing is None or self._nothing[0] != nid:
            self._nothing = nid, Extended(self._block(nid, b""))
        return self._nothing[1]

    def _block(self, nid: int, events: bytes) -> bytes:
        return b'{"next_batch":"%b","events":[%b]}' % (self._tokens.make(nid).encode("ascii"), events)

    def _acknowledge(self, since: str | None) -> int:
        """Delete what `since` says the client has; returns up to which nid the device has everything."""
        nid = self._tokens.read(since) if since else None
        if nid is not None and self._delivery.acknowledge(nid):
            acknowledge(self._writer, AcknowledgeToDevice(self._device, nid))
        return self._delivery.acknowledged
