"""What rides in the writer's next batch besides answers."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from syncproxy.matrix.devices import Device


@attrs.frozen
class AcknowledgeToDevice:
    """The device has its to-device messages up to this nid: forget them."""

    device: Device
    up_to: int


@attrs.frozen
class HandOutToDevice:
    """The device is handed its to-device messages up to this nid, save `annihilated` ones: forget those."""

    device: Device
    up_to: int
    annihilated: tuple[int, ...] = ()


@attrs.frozen
class AcknowledgeDeviceLists:
    """The device has its device-list changes up to this nid: forget them."""

    device: Device
    up_to: int


@attrs.frozen(repr=False)
class SaveToken:
    """This token, encrypted, is the device's newest."""

    token_hash: bytes
    device: Device
    encrypted: bytes
    now_ms: int


@attrs.frozen
class ForgetToken:
    """The homeserver refused this token for good."""

    token_hash: bytes


@attrs.frozen
class DeviceSeen:
    """A client of this device made a request."""

    device: Device
    now_ms: int


@attrs.frozen
class Purge:
    """What is old goes, by these statements of `purging`."""

    statements: tuple[tuple[str, Sequence[object]], ...]


Work = AcknowledgeToDevice | HandOutToDevice | AcknowledgeDeviceLists | SaveToken | ForgetToken | DeviceSeen | Purge
