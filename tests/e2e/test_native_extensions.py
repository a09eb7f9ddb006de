"""The proxy's answers and those of Synapse's own sliding sync are alike, save what the reference lists: extensions."""

from __future__ import annotations

from tests.e2e.native_case import NativeCase, body, config, on
from tests.e2e.person import Json, Person
from tests.e2e.side_by_side import NEXT

ONE_TIME_KEYS = {f"signed_curve25519:{number}": {"key": "a", "signatures": {}} for number in range(2)}
FALLBACK_KEY = {"signed_curve25519:f": {"key": "f", "fallback": True, "signatures": {}}}


class ExtensionTests(NativeCase):
    """Each step of a session is asked of both."""

    async def test_typing(self) -> None:
        """Somebody begins and ends to type, in a room that is there, out of range, subscribed to, and comes."""
        kitchen, hall = self.room("Kitchen", self.bob), self.room("Hall", self.bob)
        asked = on("typing")
        with self.scenario("typing"):
            self.same("first", body(extensions=asked))
            self.alice.type_in(kitchen)
            self.same("begins", body(extensions=asked))
            self.alice.say(kitchen, "hello")
            self.same("message", body(extensions=asked))
            self.bob.type_in(kitchen)
            self.same("oneself", body(extensions=asked))
            self.alice.type_in(kitchen, typing=False)
            self.bob.type_in(kitchen, typing=False)
            self.same("ends", body(extensions=asked))
            self.alice.type_in(hall)
            self.same("out of range", body(0, extensions=asked))
            self.same("into range", body(extensions=asked))
            self.alice.type_in(hall, typing=False)
            self.same("disabled", body())
            self.same("enabled", body(extensions=asked))
            self.alice.type_in(hall)
            self.same("no list", body(extensions=on("typing", lists=[])))
            self.same("all lists", body(extensions=asked))
            den = self.room("Den", self.bob)
            self.alice.type_in(den)
            self.same("new room", body(extensions=asked))
            self.same_anew("anew", body(extensions=asked))

    async def test_receipts(self) -> None:
        """Public, private and threaded receipts, own ones and others', in initial, live, missed, longer timelines."""
        kitchen, hall = self.room("Kitchen", self.bob), self.room("Hall", self.bob)
        carol = self.person("carol")
        carol.join(kitchen)
        said = [self.alice.say(kitchen, f"number {number}") for number in range(4)]
        asked = on("receipts")
        self.bob.read(kitchen, said[0])
        self.alice.read(kitchen, said[1])
        carol.read(kitchen, said[3])
        with self.scenario("receipts"):
            self.same("first", body(limit=2, extensions=asked))
            self.same("longer", body(limit=6, extensions=asked))
            self.alice.read(kitchen, said[2])
            self.same("public", body(limit=6, extensions=asked))
            self.alice.read(kitchen, said[3], "m.read.private")
            self.same("foreign private", body(limit=6, extensions=asked))
            self.bob.read(kitchen, said[3], "m.read.private")
            self.same("own private", body(limit=6, extensions=asked))
            self.bob.read(kitchen, said[3])
            self.same("own public", body(limit=6, extensions=asked))
            thread = {"m.relates_to": {"rel_type": "m.thread", "event_id": said[0]}}
            reply = self.alice.say(kitchen, "reply", **thread)
            carol.read(kitchen, reply, thread_id=said[0])
            self.same("thread", body(limit=6, extensions=asked))
            newest = self.alice.say(kitchen, "newest")
            carol.read(kitchen, newest, thread_id="main")
            carol.read(kitchen, newest)
            self.same("threaded and not", body(limit=6, extensions=asked))
            self.alice.say(kitchen, "the very newest")
            greeting = self.alice.say(hall, "greeting")
            carol.join(hall)
            carol.read(hall, greeting)
            self.alice.say(kitchen, "first in the list")
            self.same("out of range", body(0, limit=6, extensions=asked))
            self.same("into range", body(limit=6, extensions=asked))
            self.alice.read(hall, greeting)
            self.same("disabled", body(limit=6))
            self.same("enabled", body(limit=6, extensions=asked))
            den = self.room("Den", self.bob)
            self.alice.read(den, self.alice.say(den, "in the den"))
            self.same("new room", body(limit=6, extensions=asked))
            self.same_anew("anew", body(limit=3, extensions=asked))

    async def test_account_data(self) -> None:
        """Global settings, those of rooms and tags, first, changed, emptied, out of range and back."""
        kitchen, hall = self.room("Kitchen", self.bob), self.room("Hall", self.bob)
        self.bob.set_account_data("test.global", {"a": 1})
        self.bob.set_account_data("test.room", {"a": 1}, kitchen)
        self.bob.tag(kitchen, "m.favourite", {"order": 0.5})
        asked = on("account_data")
        with self.scenario("account data"):
            self.same("first", body(extensions=asked))
            self.same("nothing", body(extensions=asked))
            self.bob.set_account_data("test.global", {"a": 2})
            self.same("global", body(extensions=asked))
            self.bob.set_account_data("test.room", {"a": 2}, kitchen)
            self.same("of a room", body(extensions=asked))
            self.bob.tag(kitchen, "u.work", {})
            self.same("second tag", body(extensions=asked))
            self.bob.tag(kitchen, "u.work", None)
            self.bob.tag(kitchen, "m.favourite", None)
            self.same("no tags", body(extensions=asked))
            self.bob.set_account_data("test.global", {})
            self.bob.set_account_data("test.room", {}, kitchen)
            self.same("emptied", body(extensions=asked))
            self.bob.set_account_data("test.room", {"a": 3}, kitchen)
            self.bob.tag(kitchen, "m.lowpriority", {"order": 1})
            self.same("out of range", body(0, extensions=asked))
            self.same("into range", body(extensions=asked))
            self.bob.set_account_data("test.global", {"a": 4})
            self.bob.set_account_data("test.room", {"a": 4}, hall)
            self.same("disabled", body())
            self.same("enabled", body(extensions=asked))
            self.bob.call("PUT", f"pushrules/global/room/{kitchen}", {"actions": []})
            self.same("push rule", body(extensions=asked))
            den = self.room("Den", self.bob)
            self.bob.tag(den, "u.new", {})
            only = {"conn_id": "pair", "room_subscriptions": {den: config()}}
            self.same("subscription", {**only, "extensions": asked})
            self.same_anew("anew", body(extensions=asked))


class DeviceTests(NativeCase):
    """Each step is done to two devices of Bob's alike: the proxy is asked as one, Synapse as the other."""

    async def setUp(self) -> None:  # type: ignore[override]
        """Bob has a second pair of devices."""
        await super().setUp()
        self.more = self.bob.another_device(), self.bob.another_device()
        self.second = self.pair_of(*self.more)
        self.second.settle()

    def asked(self, since: str | None = None) -> Json:
        """A request of an encryption connection."""
        known = {} if since is None else {"since": since}
        return {"conn_id": "encryption", "extensions": {**on("to_device", **known), **on("e2ee")}}

    def tell(self, number: int, *devices: Person) -> None:
        """Alice writes to devices."""
        self.alice.tell_devices("test.message", number, *devices)

    async def test_to_device(self) -> None:
        """Messages to one device and to both, acknowledged by `since`, by nothing, and asked for again."""
        first = self.devices
        with self.scenario("to-device"):
            self.same("first", self.asked())
            self.same("first, second device", self.asked(), self.second)
            self.tell(1, *first)
            self.same("one", self.asked(NEXT))
            self.same("one, second device", self.asked(NEXT), self.second)
            self.tell(2, *first, *self.more)
            self.same("both", self.asked(NEXT))
            self.same("both, second device", self.asked(NEXT), self.second)
            self.same("acknowledged", self.asked(NEXT))
            self.tell(3, *first)
            self.tell(4, *first)
            self.same("without since", self.asked())
            self.same("without since again", self.asked())
            self.same("acknowledged later", self.asked(NEXT))

    async def test_keys(self) -> None:
        """Whose devices changed, and how many keys are left."""
        with self.scenario("keys"):
            self.same("first", self.asked())
            for number, device in enumerate(self.devices):
                device.upload_keys(device_keys={f"ed25519:{device.device_id}": f"key{number}"})
            self.same("own devices", self.asked())
            for device in self.devices:
                device.upload_keys(one_time_keys=ONE_TIME_KEYS, fallback_keys=FALLBACK_KEY)
            self.same("uploaded", self.asked())
            self.same("nothing", self.asked())
            for device in self.devices:
                self.alice.claim_key(device)
            self.same("claimed", self.asked())
            for device in self.devices:
                self.alice.claim_key(device)
                self.alice.claim_key(device)
            self.same("used up", self.asked())
            room = self.room("Kitchen", self.bob)
            self.same("unencrypted room", self.asked())
            self.alice.set_state(room, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"})
            self.same("encrypted", self.asked())
            self.alice.upload_keys(device_keys={f"ed25519:{self.alice.device_id}": "alice"})
            self.same("new device", self.asked())
            carol = self.person("carol")
            carol.upload_keys(device_keys={f"ed25519:{carol.device_id}": "carol"})
            carol.join(room)
            self.same("joined", self.asked())
            carol.leave(room)
            self.same("left", self.asked())
            self.bob.leave(room)
            self.same("left oneself", self.asked())
            self.same("nothing, second device", self.asked(), self.second)
            self.same("again, second device", self.asked(), self.second)
