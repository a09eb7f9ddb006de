"""What rides in the writer's next batch besides answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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


@attrs.frozen
class StartConnection:
    """A connection begins, in place of one with the same id; `name` is in all of its positions.

    `most` connections of the device stay: itself, the `others` that are in memory, then those that were used last.
    """

    device: Device
    conn_id: str
    name: str
    now_ms: int
    most: int
    others: tuple[str, ...] = ()


@attrs.frozen
class SaveDelta:
    """What an answer added to the state of a connection, which has this version with it.

    It is packed when it is written, not while clients wait to be told.
    """

    name: str
    version: int
    counter: int
    packed: Callable[[], bytes]


@attrs.frozen
class ConnectionUsed:
    """The connection's client made a request."""

    name: str
    now_ms: int


@attrs.frozen
class FoldConnection:
    """The whole state of a connection at a version that its client acknowledged: the deltas up to it are in it."""

    name: str
    version: int
    base: bytes


@attrs.frozen
class ForgetConnection:
    """The connection is gone."""

    name: str


#: what takes statements of its own
OtherWork = (
    AcknowledgeToDevice
    | HandOutToDevice
    | AcknowledgeDeviceLists
    | SaveToken
    | ForgetToken
    | DeviceSeen
    | Purge
    | StartConnection
    | ConnectionUsed
    | FoldConnection
    | ForgetConnection
)
Work = OtherWork | SaveDelta
