"""A user with many rooms of all kinds at a real homeserver, and what the homeserver itself says of their order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

from tests.e2e.person import Json, Person

#: how many of the rooms are nothing special
PLAIN = 60
_SIDE_BY_SIDE = 4
_ENCRYPTION = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}


class FullAccount:
    """Alice's rooms: plain ones of her own, spaces, direct chats, encrypted, replaced, and an invite by Carol."""

    def __init__(self, person: Callable[[str], Person], plain: int = PLAIN) -> None:
        """Make them all, so many of them plain ones; takes seconds."""
        self.alice, self.bob, self.carol = (person(name) for name in ("alice", "bob", "carol"))
        self.plain = self._side_by_side(self._plain_room, range(plain))
        self.direct = {to.user_id: [self._direct_room(to)] for to in (self.bob, self.carol)}
        self.secret = self.alice.create_room("Secret", self.bob, self.carol, initial_state=[_ENCRYPTION])
        self.crowded = self.alice.create_room("Crowded", self.bob, self.carol)
        self.bob.say(self.crowded, "hello")
        self.old = self.alice.create_room("Old", self.bob)
        self.new = self.alice.upgrade(self.old)
        self.abandoned = self.bob.create_room("Abandoned", self.alice)
        self.bob.upgrade(self.abandoned)
        self.spaces = {
            self._space("Family", self.plain[:3]): self.plain[:3],
            self._space("Work", [self.secret, self.old]): [self.secret, self.old],
        }
        self.invite = self.carol.create_room("Party", invite=[self.alice.user_id])

    @staticmethod
    def _side_by_side(make: Callable[[int], str], numbers: Iterable[int]) -> list[str]:
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as threads:
            return list(threads.map(make, numbers))

    def _plain_room(self, number: int) -> str:
        return self.alice.create_room(f"Room {number:02}")

    def _direct_room(self, to: Person) -> str:
        """A direct chat, which has no name of its own."""
        body = {"preset": "trusted_private_chat", "is_direct": True, "invite": [to.user_id]}
        room: str = self.alice.call("POST", "createRoom", body)["room_id"]
        to.join(room)
        return room

    def _space(self, name: str, children: Iterable[str]) -> str:
        space = self.alice.create_room(name, creation_content={"type": "m.space"})
        for child in children:
            self.alice.set_state(space, "m.space.child", {"via": ["hs.test"]}, child)
        return space

    def told(self) -> Json:
        """For the scripts: the rooms by what they are, and the order that the homeserver has."""
        return {
            "plain": self.plain,
            "direct": self.direct,
            "secret": self.secret,
            "crowded": self.crowded,
            "old": self.old,
            "new": self.new,
            "abandoned": self.abandoned,
            "spaces": self.spaces,
            "invite": self.invite,
            "newest_first": (newest_first := self.newest_first()),
            "noisy_first": sorted(newest_first, key=self._noise()),
        }

    def newest_first(self) -> list[str]:
        """All rooms that are no spaces, by their newest event; those that were replaced by another are left out."""
        rooms = set(self.alice.call("GET", "joined_rooms")["joined_rooms"]) - set(self.spaces) - {self.old}
        seen_by = dict.fromkeys(rooms, self.alice) | {self.invite: self.carol}
        age = {room: -self._newest(room, person) for room, person in seen_by.items()}
        return sorted(age, key=lambda room: (age[room], room))

    def _noise(self) -> Callable[[str], int]:
        """How a room ranks by what the homeserver has counted in it: mentions, then messages, encrypted ones first."""
        # a device of its own, for Synapse repeats the answer to a first sync that it has made before
        rooms = self.alice.another_device().call("GET", "sync")["rooms"]["join"]

        def rank(room: str) -> int:
            counts = rooms.get(room, {"unread_notifications": {"highlight_count": 1}})["unread_notifications"]
            if counts["highlight_count"]:
                return 0
            if counts["notification_count"]:
                return 1 if room == self.secret else 2
            return 3

        return rank

    @staticmethod
    def _newest(room: str, person: Person) -> int:
        page = person.call("GET", f"rooms/{quote(room)}/messages?dir=b&limit=1")
        moment: int = page["chunk"][0]["origin_server_ts"]
        return moment
