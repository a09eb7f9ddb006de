"""to_device (MSC3885): messages to this device, at least once and in order, until the client says it has them."""

from __future__ import annotations

from typing import Any

from syncproxy.extensions.acknowledging import acknowledge
from syncproxy.extensions.core import Context, Extended
from syncproxy.extensions.deliveries import Deliveries
from syncproxy.extensions.key_requests import without_cancelled
from syncproxy.extensions.since_tokens import SinceTokens
from syncproxy.matrix.devices import Device
from syncproxy.protocol.request import ExtensionParams
from syncproxy.storage.reader import Reader
from syncproxy.storage.work import AcknowledgeToDevice
from syncproxy.storage.writer import Writer

_DEFAULT_LIMIT = 100
_MOST = 1000

_Row = tuple[int, bytes]


class ToDeviceExtension:
    """The messages after the client's `since`, and the token that will acknowledge them.

    Only a `since` acknowledges; a `pos` does not. So `fold` only remembers what the connection was handed, which
    tells messages that are news from those that are repeated.
    """

    def __init__(
        self, device: Device, reader: Reader, writer: Writer, tokens: SinceTokens, deliveries: Deliveries
    ) -> None:
        self._device = device
        self._reader = reader
        self._writer = writer
        self._tokens = tokens
        self._deliveries = deliveries
        self._known = 0

    async def answer(self, params: ExtensionParams, context: Context) -> Extended:
        """Always a block; reads the database only if the device has messages after `since`."""
        after = self._acknowledge(params.since)
        newest = context.user.facts(self._device.device_id).to_device_position
        rows: list[_Row] = []
        if newest > after:
            limit = min(max(params.limit or _DEFAULT_LIMIT, 1), _MOST)
            rows, after = await self._page(after, newest, limit)
            self._deliveries.hand_out(self._device, after)
        events = b",".join(message for _, message in rows)
        data = b'{"next_batch":"%b","events":[%b]}' % (self._tokens.make(after).encode("ascii"), events)
        news = any(nid > self._known for nid, _ in rows)
        return Extended(data, news, after if after > self._known else None)

    def fold(self, delta: Any) -> None:
        """The client was handed everything up to this nid."""
        self._known = max(self._known, delta)

    def _acknowledge(self, since: str | None) -> int:
        """Delete what `since` says the client has; returns up to which nid the device has everything."""
        nid = self._tokens.read(since) if since else None
        if nid is not None and self._deliveries.acknowledge(self._device, nid):
            acknowledge(self._writer, AcknowledgeToDevice(self._device, nid))
        return self._deliveries.acknowledged(self._device)

    async def _page(self, after: int, newest: int, limit: int) -> tuple[list[_Row], int]:
        """The oldest messages in between, `limit` at most, and the nid up to which they are complete."""
        handed_out = self._deliveries.handed_out(self._device)
        while True:
            rows = await self._reader.to_device(self._device, after, newest, limit)
            if len(rows) < limit:
                return without_cancelled(rows, handed_out), newest
            after = rows[-1][0]
            kept = without_cancelled(rows, handed_out)
            if kept:
                return kept, after
