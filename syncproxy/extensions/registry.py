"""The extensions by the names that requests call them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from twisted.internet.interfaces import IReactorTime

from syncproxy.extensions.account_data import AccountDataExtension
from syncproxy.extensions.core import Extension
from syncproxy.extensions.deliveries import Deliveries
from syncproxy.extensions.e2ee import E2eeExtension
from syncproxy.extensions.receipts import ReceiptsExtension
from syncproxy.extensions.since_tokens import SinceTokens
from syncproxy.extensions.sticky_events import STICKY_EVENTS, StickyEventsExtension
from syncproxy.extensions.to_device import ToDeviceExtension
from syncproxy.extensions.to_device_pages import ToDevicePages
from syncproxy.extensions.typing import TypingExtension
from syncproxy.matrix.devices import Device
from syncproxy.storage.reader import Reader
from syncproxy.storage.writer import Writer


def factories(
    reader: Reader, writer: Writer, clock: IReactorTime, token_key: bytes, epoch: str, deliveries: Deliveries
) -> dict[str, Callable[[Device], Extension]]:
    """What makes each extension for a device's connection. Call it once a process.

    `token_key` is secret and outlives restarts, `epoch` is the database's identity.
    """

    # a device's connections are begun again and again
    @lru_cache(maxsize=10_000)
    def tokens(device: Device) -> SinceTokens:
        return SinceTokens(token_key, epoch, device)

    def to_device(device: Device) -> Extension:
        delivery = deliveries.of(device)
        pages = ToDevicePages(device, reader, writer, delivery, clock)
        return ToDeviceExtension(device, pages, writer, tokens(device), delivery)

    def sticky_events(device: Device) -> Extension:
        # to-device tokens are none of these
        tokens = SinceTokens(token_key, f"{epoch} {STICKY_EVENTS}", device)
        return StickyEventsExtension(reader, tokens, lambda: int(clock.seconds() * 1000))

    return {
        "to_device": to_device,
        "e2ee": lambda device: E2eeExtension(device, reader, writer),
        "account_data": lambda device: AccountDataExtension(),
        "receipts": lambda device: ReceiptsExtension(reader),
        "typing": lambda device: TypingExtension(),
        STICKY_EVENTS: sticky_events,
    }
