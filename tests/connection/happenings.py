"""What happens around Alice: in her rooms, to her, and in what is hers alone, at random."""

from __future__ import annotations

from random import Random

from syncproxy.caches.user_cache import UserCache
from tests.caches.fakes import ALICE, BOB, CAROL
from tests.connection.fakes import Stage
from tests.connection.mirror import TOPIC

ROOMS = tuple(f"!{letter}" for letter in "abcdefgh")
#: these list some of the others
SPACES = ROOMS[:2]
TAGS = ("u.x", "m.favourite")
EVENT_TYPES = ("m.room.message", "m.reaction", "m.sticker")
ROOM_TYPES = (None, "m.space", "x")
_GONE = ("leave", "ban")


class Happenings:
    """A world in which things happen."""

    #: how long own events wait for their transaction ids, in seconds
    wait_s = 0.0

    def __init__(self, seed: int, user_cache: type[UserCache] = UserCache) -> None:
        self.random = Random(seed)
        self.stage = Stage(transaction_id_wait_s=self.wait_s, user_cache=user_cache)
        #: kicks that the client was not told of yet, by room
        self.kicks: dict[str, str] = {}
        for room_id in ROOMS[:5]:
            self.stage.room(room_id, ALICE, BOB, name=self.name(), room_type=self.random.choice(ROOM_TYPES))

    def something_happens(self) -> None:
        """One thing, in one room."""
        room_id = self.random.choice(ROOMS[: len(self.stage.members) + 1])
        if room_id not in self.stage.members:
            members = self.random.choice(((ALICE, BOB), (BOB,)))
            self.stage.room(room_id, *members, name=room_id, room_type=self.random.choice(ROOM_TYPES))
        elif self.random.random() < 0.25:
            self.alice_moves(room_id)
        else:
            happens = (self.talk, self.talk, self.state, self.facts, self.members, self.mine, self.mine)
            self.random.choice(happens)(room_id)

    def name(self) -> str:
        """Names that differ, and some that differ for nobody who sorts."""
        return self.random.choice((f"{self.random.random()}", "Den", "#den:", "(DEN)", "garden"))

    def talk(self, room_id: str) -> None:
        """Messages, now and then behind a gap, with a clock that runs ahead, or at the time of another room's."""
        count = self.random.choice((1, 1, 1, 1, 2, 7, 55))
        gap = self.random.random() < 0.1
        for _ in range(count):
            joined = [user for user, membership in self.stage.members[room_id].items() if membership == "join"]
            sender = self.random.choice([user for user in joined if user != ALICE] or [BOB])
            self.stage.happened(
                room_id,
                self.stage.event(self.random.choice(EVENT_TYPES), sender, gap_before=gap, **self.times()),
            )
            gap = False

    def times(self) -> dict[str, int]:
        """When an event was sent: mostly now."""
        now = 1000 + self.stage.database.nid
        if self.random.random() < 0.8:
            return {}
        ts = self.random.choice((now - 5, now // 10 * 10, now + 100))
        return {"ts": ts, "sort_ts": min(ts, now // 10 * 10)}

    def state(self, room_id: str) -> None:
        """A topic, or what rooms are shown by."""
        what = self.random.choice(("topic", "topic", "name", "avatar"))
        if what == "topic":
            self.stage.state(room_id, TOPIC)
        elif what == "name":
            self.stage.state(room_id, "m.x", name=self.name())
        else:
            self.stage.state(room_id, "m.x", avatar_url=self.random.choice(("mxc://b", None)))

    def facts(self, room_id: str) -> None:
        """What lists filter by: encryption, tombstones, the children of spaces."""
        what = self.random.choice(("encryption", "tombstone", "space", "space"))
        if what == "encryption":
            self.stage.state(room_id, "m.room.encryption", encrypted=True)
        elif what == "tombstone":
            replacement = self.random.choice([None, None, *(one for one in ROOMS if one != room_id)])
            tombstoned = replacement is not None or self.random.random() < 0.2
            self.stage.state(room_id, "m.room.tombstone", tombstoned=tombstoned, replacement=replacement)
        else:
            children = tuple(self.random.sample(ROOMS, self.random.randrange(4)))
            self.stage.state(self.random.choice(SPACES), "m.space.child", room_id, children=children)

    def members(self, room_id: str) -> None:
        """Carol comes, changes her name, or goes."""
        if self.stage.members[room_id].get(CAROL) == "join":
            self.stage.member(room_id, CAROL, self.random.choice(("join", "leave")))
        else:
            self.stage.member(room_id, CAROL)

    def mine(self, room_id: str) -> None:
        """What concerns Alice alone."""
        what = self.random.choice(("unread", "unread", "tag", "tag", "direct"))
        if what == "tag":
            tags = self.random.sample(TAGS, self.random.randrange(3))
            self.stage.datum("m.tag", {"tags": {tag: {} for tag in tags}}, room_id)
        elif what == "direct":
            self.stage.datum("m.direct", {BOB: self.random.sample(ROOMS, 2)})
        elif self.stage.members[room_id].get(ALICE) == "join":
            self.stage.unread(room_id, self.random.randrange(3), self.random.randrange(2))

    def alice_moves(self, room_id: str) -> None:
        """Alice joins, is invited, leaves or is thrown out."""
        row = self.stage.database.user_rows.get((ALICE, room_id))
        self.kicks.pop(room_id, None)
        if row is not None and row.membership in ("join", "invite") and self.random.random() < 0.6:
            sender = self.random.choice((ALICE, BOB))
            leave = self.stage.member(room_id, ALICE, self.random.choice(_GONE), sender)
            if sender != ALICE:
                self.kicks[room_id] = leave
        elif (row is None or row.membership != "join") and self.random.random() < 0.4:
            self.stage.invite(room_id, name=self.name(), is_direct=self.random.random() < 0.5)
        else:
            self.stage.member(room_id, ALICE)
