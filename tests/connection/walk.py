"""A client that asks at random while things happen, and looks after each answer whether it sees what it should."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.caches.user_cache import UserCache
from syncproxy.connection.conn import Conn
from syncproxy.protocol.request import Filters, ListParams, Request, Sort, SubscriptionParams
from syncproxy.protocol.required_state import MEMBER
from syncproxy.protocol.response import Answer
from tests.caches.fakes import ALICE
from tests.connection.fakes import Client, asked
from tests.connection.happenings import EVENT_TYPES, ROOM_TYPES, ROOMS, SPACES, TAGS, Happenings
from tests.connection.mirror import TOPIC, Mirror

STATE = ((TOPIC, ""), (MEMBER, "$LAZY"))
SORTS: tuple[tuple[Sort, ...], ...] = (
    ("by_recency",),
    ("by_recency",),
    ("by_name",),
    ("by_name", "by_recency"),
    ("by_notification_level", "by_recency"),
    ("by_notification_level", "by_name"),
    ("by_highlight_count", "by_notification_count"),
)
FILTERS: dict[str, tuple[Any, ...]] = {
    "is_dm": (True, False),
    "is_encrypted": (True, False),
    "is_invite": (True, False),
    "is_tombstoned": (True, False),
    "spaces": (frozenset(SPACES), frozenset(SPACES[:1])),
    "room_types": (frozenset((None,)), frozenset((None, "x"))),
    "not_room_types": (frozenset(("m.space",)), frozenset(ROOM_TYPES[1:])),
    "tags": (frozenset(TAGS), frozenset(TAGS[:1])),
    "not_tags": (frozenset(TAGS[1:]),),
    "room_name_like": ("DEN", "0."),
}
RANGES = (
    ((0, 2),),
    ((0, 9),),
    ((0, 0), (2, 3)),
    ((1, 4),),
    ((0, 1), (2, 3)),
    ((0, 1), (4, 5)),
    ((0, 0), (1, 1), (2, 2), (5, 9)),
    ((3, 3),),
    (),
)
KEYS = ("a", "b", "c")


class Walk(Happenings):
    """One random walk of a world and a client in it."""

    def __init__(
        self,
        test: SynchronousTestCase,
        seed: int,
        conn: type[Conn] = Conn,
        user_cache: type[UserCache] = UserCache,
    ) -> None:
        super().__init__(seed, user_cache)
        self.test = test
        self.client = Client(self.stage, self.stage.conn(kind=conn))
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
                (self.sync, self.sync, self.sync, self.lose, self.change_mind, self.hang_up, self.hold, self.read)
            )()

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
        if self.random.random() >= 0.4:
            return {}
        rooms = tuple(self.random.sample(ROOMS, 2))
        subscription = SubscriptionParams(STATE, self.random.choice((1, 8)))
        wishes: tuple[dict[str, Any], ...] = (
            {"lists": {self.random.choice(KEYS): ListParams(deleted=True)}},
            {"room_subscriptions": {rooms[0]: subscription}},
            {"unsubscribe_rooms": rooms},
        )
        if self.random.random() < 0.3:
            return self.random.choice(wishes)
        return {"lists": {key: self._list() for key in self.random.sample(KEYS, self.random.choice((1, 1, 2)))}}

    def _list(self) -> ListParams:
        """What is said of a list: some members of it, and what the mirror needs if it is a new one."""
        chance = self.random.random
        said: dict[str, Any] = {"required_state": STATE, "timeline_limit": self.random.choice((1, 3, 20))}
        if chance() < 0.6:
            said["ranges"] = self.random.choice(RANGES)
        if chance() < 0.3:
            said["sort"] = self.random.choice(SORTS)
        if chance() < 0.4:
            said["filters"] = self._filters()
        if chance() < 0.2:
            said["bump_event_types"] = tuple(self.random.sample(EVENT_TYPES, self.random.choice((1, 2, 3))))
        if chance() < 0.2:
            said["slow_get_all_rooms"] = chance() < 0.5
        return ListParams(**said)

    def _filters(self) -> Filters:
        names = self.random.sample(tuple(FILTERS), self.random.choice((0, 1, 1, 2)))
        return Filters(**{name: self.random.choice(FILTERS[name]) for name in names})

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
        if not (self.mirror.params.lists or self.mirror.params.subscriptions):
            # a connection that shows no rooms is told of none
            self.kicks.clear()
        if fresh:
            self.mirror.check()
            assert self.mirror.leaves.issuperset(self.kicks.values()), "a kick was not told"
            self.kicks.clear()
