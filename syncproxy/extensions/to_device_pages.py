"""Pages of to-device messages: oldest first, less key requests that were taken back before anybody saw them."""

from __future__ import annotations

from twisted.internet.defer import TimeoutError
from twisted.internet.interfaces import IReactorTime

from syncproxy.errors import NotReady
from syncproxy.extensions.acknowledging import acknowledge
from syncproxy.extensions.deliveries import Delivery
from syncproxy.extensions.key_requests import KeyRequest, annihilated, key_requests
from syncproxy.matrix.devices import Device
from syncproxy.storage.reader import Reader
from syncproxy.storage.work import HandOutToDevice
from syncproxy.storage.writer import Writer

#: how long storing may take that a key request goes out, in seconds
_STORED_S = 5

Row = tuple[int, bytes]


class ToDevicePages:
    """The messages of one device, on whichever connection."""

    def __init__(self, device: Device, reader: Reader, writer: Writer, delivery: Delivery, clock: IReactorTime) -> None:
        self._device = device
        self._reader = reader
        self._writer = writer
        self._delivery = delivery
        self._clock = clock

    async def page(self, after: int, newest: int, limit: int) -> tuple[list[Row], int]:
        """The oldest messages in between, `limit` at most, and the nid up to which they are complete.

        They count as handed out from now on. Raises NotReady while the database is away.
        """
        while True:
            rows = await self._reader.to_device(self._device, after, newest, limit)
            after = newest if len(rows) < limit else rows[-1][0]
            kept = await self._handed_out(rows, after, newest)
            if kept or after == newest:
                return kept, after

    async def _handed_out(self, rows: list[Row], up_to: int, newest: int) -> list[Row]:
        """The rows that go out, which are complete up to a nid."""
        delivery = self._delivery
        requests = await self._key_requests(rows, up_to, newest)
        # no await from here until the device's state is changed: another connection may be handing out, too
        requests = [request for request in requests if request.nid not in delivery.annihilated]
        gone = annihilated(requests, delivery.handed_out)
        noted = delivery.noted or 0
        asks = any(one.asks and noted < one.nid <= up_to and one.nid not in gone for one in requests)
        delivery.annihilated |= gone
        delivery.hand_out(up_to)
        if asks or gone:
            work = HandOutToDevice(self._device, up_to, tuple(sorted(gone)))
            if asks:
                await self._stored(work)
            else:
                acknowledge(self._writer, work)
        return [row for row in rows if row[0] not in delivery.annihilated]

    async def _key_requests(self, rows: list[Row], up_to: int, newest: int) -> list[KeyRequest]:
        """Those in the rows, and what waits behind them and may take back one of them."""
        requests = key_requests(rows)
        if requests and self._delivery.noted is None:
            self._delivery.note(await self._reader.to_device_handed_out(self._device))
        handed_out = self._delivery.handed_out
        if up_to < newest and any(one.asks and one.nid > handed_out for one in requests):
            requests += key_requests(await self._reader.to_device_key_requests(self._device, up_to, newest))
        return requests

    async def _stored(self, work: HandOutToDevice) -> None:
        """Have it noted before it goes out: a process that starts afterwards must not swallow its cancellation."""
        try:
            await self._writer.do(work).addTimeout(_STORED_S, self._clock)
        except TimeoutError:
            raise NotReady("The database is away", retry_after_s=5) from None
        self._delivery.note(work.up_to)
