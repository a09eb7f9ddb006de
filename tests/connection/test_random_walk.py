"""Whatever happens, in whatever order, and however many answers get lost: the client sees what it should see."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.caches.updates import Mark
from syncproxy.connection.conn import Conn
from syncproxy.protocol.request import Filters, ListParams, Request, Sort, SubscriptionParams
from syncproxy.protocol.required_state import MEMBER
from syncproxy.protocol.response import Answer
from tests.caches.fakes import ALICE, BOB, CAROL
from tests.connection.fakes import Client, Stage, asked
from tests.connection.mirror import TOPIC, Mirror

ROOMS = tuple(f"!{letter}" for letter in "abcdefgh")
STATE = ((TOPIC, ""), (MEMBER, "$LAZY"))
SORTS: tuple[tuple[Sort, ...], ...] = (("by_recency",), ("by_name",), ("by_notification_level", "by_recency"))
FILTERS = (
    Filters(),
    Filters(is_dm=True),
    Filters(is_dm=False),
    Filters(is_invite=False),
    Filters(tags=frozenset({"u.x"})),
)
RANGES = (((0, 2),), ((0, 9),), ((0, 0), (2, 3)), ((1, 4),), ((0, 1), (4, 5)), ())


class Walk:
    """One random walk of a world and a client in it."""

    #: how long own events wait for their transaction ids, in seconds
    wait_s = 0.0

    def __init__(self, test: SynchronousTestCase, seed: int, conn: type[Conn] = Conn) -> None:
        self.test = test
        self.random = Random(seed)
        self.stage = Stage(transaction_id_wait_s=self.wait_s)
        for room_id in ROOMS[:5]:
            self.stage.room(room_id, ALICE, BOB, name=f"{self.random.random()}")
        self.client = Client(self.stage, self.stage.conn(kind=conn))
        #: kicks that the client was not told of yet, by room
        self.kicks: dict[str, str] = {}
        self.requests: dict[str, Request] = {}
        self.answers = 0
        first = self._asked(lists={"a": ListParams(((0, 2),), required_state=STATE, timeline_limit=3)})
        answer = self._answer(self._send(first))
        user = self.stage.users.get(ALICE)
        assert user is not None
        self.mirror = Mirror(self.stage, user)
        self._take(answer, fresh=True)

    def go(self, steps: int) -> None:
        """Take so many steps, and look after each fresh answer."""
        for _ in range(steps):
            for _ in range(self.random.randrange(4)):
                self.something_happens()
            self.random.choice(
                (self.sync, self.sync, self.sync, self.lose, self.change_mind, self.hang_up, self.hold)
            )()

    # What happens

    def something_happens(self) -> None:
        """One thing, in one room."""
        room_id = self.random.choice(ROOMS[: len(self.stage.members) + 1])
        if room_id not in self.stage.members:
            self.stage.room(room_id, *self.random.choice(((ALICE, BOB), (BOB,))), name=room_id)
        elif self.random.random() < 0.25:
            self.alice_moves(room_id)
        else:
            self.random.choice((self.talk, self.talk, self.state, self.members, self.mine))(room_id)

    def talk(self, room_id: str) -> None:
        count = self.random.choice((1, 1, 1, 1, 2, 7, 55))
        gap = self.random.random() < 0.1
        for _ in range(count):
            joined = [user for user, membership in self.stage.members[room_id].items() if membership == "join"]
            sender = self.random.choice([user for user in joined if user != ALICE] or [BOB])
            self.stage.message(room_id, sender, gap_before=gap)
            gap = False

    def state(self, room_id: str) -> None:
        facts = self.random.choice(
            ({"name": f"{self.random.random()}"}, {"avatar_url": "mxc://b"}, {"avatar_url": None})
        )
        self.random.choice(
            (lambda: self.stage.state(room_id, TOPIC), lambda: self.stage.state(room_id, "m.x", **facts))
        )()

    def members(self, room_id: str) -> None:
        if self.stage.members[room_id].get(CAROL) == "join":
            self.stage.member(room_id, CAROL, self.random.choice(("join", "leave")))
        else:
            self.stage.member(room_id, CAROL)

    def mine(self, room_id: str) -> None:
        """What concerns Alice alone."""
        if self.stage.members[room_id].get(ALICE) == "join":
            self.stage.unread(room_id, self.random.randrange(3), self.random.randrange(2))
        self.stage.datum("m.tag", {"tags": {"u.x": {}} if self.random.random() < 0.5 else {}}, room_id)
        self.stage.datum("m.direct", {BOB: self.random.sample(ROOMS, 2)})

    def alice_moves(self, room_id: str) -> None:
        row = self.stage.database.user_rows.get((ALICE, room_id))
        self.kicks.pop(room_id, None)
        if row is not None and row.membership in ("join", "invite") and self.random.random() < 0.6:
            sender = self.random.choice((ALICE, BOB))
            leave = self.stage.member(room_id, ALICE, self.random.choice(("leave", "ban")), sender)
            if sender != ALICE:
                self.kicks[room_id] = leave
        elif (row is None or row.membership != "join") and self.random.random() < 0.4:
            self.stage.invite(room_id, name=f"{self.random.random()}")
        else:
            self.stage.member(room_id, ALICE)

    # What the client does

    def sync(self) -> None:
        self._take(self._answer(self._send(self._asked(**self._wish()))), fresh=True)

    def lose(self) -> None:
        """An answer is lost, more happens, the very same request comes again."""
        request = self._asked(**self._wish())
        lost = self.test.successResultOf(self._send(request))
        self.something_happens()
        again = self._send(request)
        self.stage.clock.advance(0.01)
        assert self.test.successResultOf(again) == lost
        self._take(self.client.notebook.answers[lost], fresh=False)
        self.sync()

    def change_mind(self) -> None:
        """An answer is lost, and the client asks for something else at its old position."""
        self._answer(self._send(self._asked(**self._wish())))
        changed = self._wish()
        second = self._asked(**changed)
        self._take(self._answer(self._send(second)), fresh=False)
        self.something_happens()
        answer = self._answer(self._send(self._asked(second.txn_id, timeout_s=30, **changed)))
        assert answer.txn_id == second.txn_id
        self._take(answer, fresh=True)

    def hang_up(self) -> None:
        """The client goes away while its request is held."""
        self.sync()
        gone: Deferred[None] = Deferred()
        body = self.client.forward(self._asked(timeout_s=30), hung_up=gone)
        gone.callback(None)
        assert self.test.successResultOf(body) == b""
        self.something_happens()
        self.sync()

    def hold(self) -> None:
        """A held request is answered as soon as there is something to see, if there is."""
        self.sync()
        body = self._send(self._asked(timeout_s=30))
        self.test.assertNoResult(body)
        self.something_happens()
        if not body.called:
            self.mirror.check()
            self.stage.clock.advance(30)
        self._take(self._answer(body), fresh=False)
        self.sync()
        self.forget_something()

    def read(self) -> None:
        """Things happen while the rooms of an answer are read from the database."""
        opened = self.stage.close_gate(*self.random.sample(ROOMS, 5))
        body = self._send(self._asked(**self._wish()))
        for _ in range(self.random.randrange(4)):
            self.something_happens()
        opened()
        self._take(self._answer(body), fresh=False)
        self.sync()

    def forget_something(self) -> None:
        """Memory is short: rooms, and now and then the user, must be read anew."""
        for room_id in self.random.sample(ROOMS, 3):
            self.stage.global_cache._hot.evict(room_id)
        if self.random.random() < 0.3:
            self.stage.users.evict(ALICE)
            self._take(self._answer(self._send(self._asked())), fresh=False)
            user = self.stage.users.get(ALICE)
            assert user is not None
            self.mirror.user = user
            self.mirror.check()

    # How it asks

    def _wish(self) -> dict[str, Any]:
        """Mostly nothing new."""
        choice = self.random.choice
        wishes: tuple[dict[str, Any], ...] = (
            {"lists": {"a": ListParams(choice(RANGES))}},
            {"lists": {"a": ListParams(choice(RANGES), sort=choice(SORTS), filters=choice(FILTERS))}},
            {"lists": {"a": ListParams(timeline_limit=choice((1, 3, 20)), required_state=STATE)}},
            {"lists": {"b": ListParams(choice(RANGES), sort=choice(SORTS), timeline_limit=2, required_state=STATE)}},
            {"lists": {"b": ListParams(deleted=True)}},
            {"lists": {"s": ListParams(slow_get_all_rooms=True, timeline_limit=1, required_state=STATE)}},
            {"lists": {"s": ListParams(deleted=True)}},
            {"room_subscriptions": {choice(ROOMS): SubscriptionParams(STATE, choice((1, 8)))}},
            {"unsubscribe_rooms": (choice(ROOMS), choice(ROOMS))},
        )
        return choice(wishes) if self.random.random() < 0.4 else {}

    def _asked(self, txn_id: str | None = None, **said: Any) -> Request:
        txn_id = txn_id or str(len(self.requests))
        request = self.requests[txn_id] = asked(self.client.pos, txn_id=txn_id, **said)
        return request

    def _send(self, request: Request) -> Deferred[bytes]:
        return self.client.forward(request)

    def _answer(self, body: Deferred[bytes]) -> Answer:
        return self.client.notebook.answers[self.test.successResultOf(body)]

    def _take(self, answer: Answer, *, fresh: bool) -> None:
        self.client.pos = answer.pos
        self.answers += 1
        self.mirror.take(answer, self.requests[answer.txn_id or ""], fresh=fresh)
        if fresh:
            self.mirror.check()
            assert self.mirror.leaves.issuperset(self.kicks.values()), "a kick was not told"
            self.kicks.clear()


class Forgetful(Conn):
    """A connection that loses some of what it is told."""

    _heard = 0

    def mark_room(self, room_id: str, mark: Mark) -> None:
        self._heard += 1
        if self._heard % 5:
            super().mark_room(room_id, mark)


class RandomWalkTests(SynchronousTestCase):
    """Many walks, each as its seed has it."""

    def test_client_sees_what_it_should_see(self) -> None:
        """After each answer the lists, and all that is known of the rooms in them, are what the caches say."""
        for seed in range(40):
            try:
                Walk(self, seed).go(50)
            except AssertionError as problem:
                raise AssertionError(f"seed {seed}: {problem}") from problem

    def test_lost_mark_is_noticed(self) -> None:
        """A connection that forgets one mark in five does not get far: the walk would notice."""
        for seed in range(3):
            with self.assertRaises(AssertionError):
                Walk(self, seed, Forgetful).go(50)
