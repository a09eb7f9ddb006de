"""The tokens of to_device: what a client hands back to say that it has the messages up to there."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode

from syncproxy.matrix.devices import Device

_MAC_BYTES = 15


class SinceTokens:
    """Makes and reads the tokens of one device.

    A token is a nid and an HMAC over database epoch, user, device and nid: only what this database handed to this
    device is ever read, so a token acknowledges at most what was handed out with it.
    """

    def __init__(self, key: bytes, epoch: str, device: Device) -> None:
        # lengths in front, so that no two devices share a prefix
        parts = [part.encode("utf-8", "surrogatepass") for part in (epoch, *device)]
        self._prefix = b"".join(b"%d:%b" % (len(part), part) for part in parts)
        self._key = key
        self._newest = (0, f"0_{self._mac(0)}")

    def make(self, nid: int) -> str:
        """The token that acknowledges everything up to the nid."""
        if self._newest[0] != nid:
            self._newest = (nid, f"{nid}_{self._mac(nid)}")
        return self._newest[1]

    def read(self, token: str) -> int | None:
        """The nid, or `None` for anything that was not made here for this device."""
        if token == self._newest[1]:
            return self._newest[0]
        digits, _, mac = token.partition("_")
        if not (digits.isascii() and digits.isdecimal() and len(digits) < 20 and mac.isascii()):
            return None
        nid = int(digits)
        return nid if hmac.compare_digest(mac, self._mac(nid)) else None

    def _mac(self, nid: int) -> str:
        digest = hmac.digest(self._key, self._prefix + b"%d" % nid, "sha256")
        return urlsafe_b64encode(digest[:_MAC_BYTES]).decode("ascii")
