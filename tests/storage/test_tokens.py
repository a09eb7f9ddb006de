"""The tokens of a device as they are stored."""

from __future__ import annotations

from syncproxy.matrix.devices import Device
from syncproxy.storage.work import SaveToken
from tests.storage.cases import StorageCase

PHONE, LAPTOP = Device("@alice:hs", "PHONE"), Device("@alice:hs", "LAPTOP")


class TokensTests(StorageCase):
    """What `SaveToken` leaves."""

    async def save(self, *names: str, device: Device = PHONE, now_ms: int = 1000) -> None:
        """Save tokens, one after the other."""
        for number, name in enumerate(names):
            await self.writer.do(SaveToken(name.encode(), device, b"secret of " + name.encode(), now_ms + number))

    async def names(self, device: Device = PHONE) -> list[str]:
        """The device's tokens."""
        return [row.token_hash.decode() for row in await self.reader.tokens_of(device)]

    async def test_five_newest_are_kept(self) -> None:
        """A sixth token costs the oldest, of this device only."""
        await self.save("other", device=LAPTOP, now_ms=1)
        await self.save("a", "b", "c", "d", "e", "f")
        self.assertEqual(await self.names(), ["f", "e", "d", "c", "b"])
        self.assertEqual(await self.names(LAPTOP), ["other"])

    async def test_several_devices(self) -> None:
        """The tokens of several devices are read at once, the newest first; those of others are not."""
        await self.save("a", now_ms=1)
        await self.save("b", device=LAPTOP, now_ms=2)
        await self.save("c", device=Device("@bob:hs", "PHONE"), now_ms=3)
        found = await self.reader.tokens_of(PHONE, LAPTOP)
        self.assertEqual([(b"b", LAPTOP), (b"a", PHONE)], [(row.token_hash, row.device) for row in found])

    async def test_newest_is_kept_whatever_the_clock_says(self) -> None:
        """Of tokens of the same millisecond the one just saved is not the one to go."""
        for name in "zyxwva":
            await self.save(name)
            self.assertIn(name, await self.names())

    async def test_saved_again(self) -> None:
        """A token that is saved again is the newest, and belongs to the device that it was saved for last."""
        await self.save("a", "b")
        await self.save("a", now_ms=5000)
        self.assertEqual(await self.names(), ["a", "b"])
        await self.save("a", device=LAPTOP, now_ms=6000)
        self.assertEqual((await self.names(), await self.names(LAPTOP)), (["b"], ["a"]))
