"""The rooms of one answer, made some at a time: as many as fit, and without those that cannot be made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar, TypeVarTuple

from msgspec.structs import replace
from twisted.internet.interfaces import IReactorTime

from syncproxy.caches.global_cache import GlobalCache
from syncproxy.caches.hot_room import HotRoom, RoomWant
from syncproxy.connection.due import DueRoom
from syncproxy.connection.encoding import room_failed
from syncproxy.connection.room_answers import Draft, Told
from syncproxy.connection.sent import RoomDelta
from syncproxy.metrics import Metrics
from syncproxy.protocol.response import RoomAnswer
from syncproxy.storage.problems import Blame, blame
from syncproxy.turns import Turn

_T = TypeVar("_T")
_Args = TypeVarTuple("_Args")
#: rooms that are brought into memory together
_CHUNK = 100
#: rooms that would make an answer larger than this, in bytes, wait for the next one; a room that is larger goes alone
MAX_ANSWER_BYTES = 16 * 1024 * 1024
#: with more rooms than these each is met in passing: they would drive out of memory what others use
_MANY = 200


class RoomMaker(Protocol):
    """Makes room objects, in three looks at each room."""

    def want(self, due: DueRoom) -> RoomWant | None:
        """What must be in memory to choose the timeline; `None`: nothing."""

    def draft(self, due: DueRoom, hot: HotRoom | None) -> Draft | None:
        """Choose the timeline; `None` for a room that has none."""

    def is_complete(self, draft: Draft) -> bool:
        """Whether `completed` has nothing to do for it."""

    async def completed(self, drafts: Mapping[str, Draft]) -> Mapping[str, Draft]:
        """The drafts of some rooms, with what must be asked of the homeserver for them; never fails."""

    def want_members(self, draft: Draft) -> RoomWant | None:
        """What must be in memory to make the object of a draft, beside what is; `None`: nothing."""

    def tell(self, due: DueRoom, draft: Draft | None, hot: HotRoom | None) -> Told:
        """The room's object."""


class RoomBatch:
    """Makes room objects.

    A room on which the program stumbles is left out, logged and counted, and the others go out; it is tried again when
    it changes.
    """

    def __init__(self, maker: RoomMaker, global_cache: GlobalCache, clock: IReactorTime, metrics: Metrics) -> None:
        self._maker = maker
        self._global = global_cache
        self._metrics = metrics
        self._turn = Turn(clock)
        self._size = 0
        self._passing = False
        #: rooms that were met in passing: while they are held they need not be unpacked once more
        self.held: list[HotRoom] = []
        self.answers: dict[str, RoomAnswer] = {}
        self.deltas: dict[str, RoomDelta] = {}
        #: rooms that could not be made
        self.failed: set[str] = set()
        #: rooms that were sent without their timelines, which are still to come
        self.without_timeline: set[str] = set()

    async def make(self, due: Sequence[DueRoom]) -> Sequence[DueRoom]:
        """Make the objects of these rooms; those that did not fit. Raises what the database raises."""
        self._passing = len(due) > _MANY
        left, due = await self._at_once(due)
        while due and not left:
            chunk, due = due[:_CHUNK], due[_CHUNK:]
            left = await self._chunk(chunk)
        return [*left, *due]

    async def _at_once(self, due: Sequence[DueRoom]) -> tuple[Sequence[DueRoom], Sequence[DueRoom]]:
        """Make the first of them, as long as all is in memory; those that did not fit, and those that are still due."""
        for index, one in enumerate(due):
            await self._turn.pause()
            told = self._try(one.room_id, self._from_memory, one)
            if told is not None:
                if not self._take(one.room_id, told):
                    return due[index:], ()
            elif one.room_id not in self.failed:
                return (), due[index:]
        return (), ()

    def _from_memory(self, due: DueRoom) -> Told | None:
        """The room's object, in one look, for nothing has to be waited for; `None`: something has."""
        maker, hot = self._maker, None
        want = maker.want(due)
        if want is not None:
            hot = self._in_memory(want)
            if hot is None:
                return None
        draft = maker.draft(due, hot)
        if draft is not None:
            if not maker.is_complete(draft):
                return None
            want = maker.want_members(draft)
            if want is not None:
                members = self._in_memory(want)
                if members is None:
                    return None
                if members is not hot:
                    draft = replace(draft, members=members)
        return maker.tell(due, draft, hot)

    async def _chunk(self, chunk: Sequence[DueRoom]) -> Sequence[DueRoom]:
        """Make some of them; those that do not fit any more."""
        maker = self._maker
        hot = await self._hot(self._try(due.room_id, maker.want, due) for due in chunk)
        drafts: dict[str, Draft] = {}
        for due in chunk:
            await self._turn.pause()
            draft = self._try(due.room_id, maker.draft, due, hot.get(due.room_id))
            if draft is not None:
                drafts[due.room_id] = draft
        drafts = dict(await maker.completed(drafts))
        members = await self._hot(self._try(room_id, maker.want_members, draft) for room_id, draft in drafts.items())
        for room_id, room in members.items():
            drafts[room_id] = replace(drafts[room_id], members=room)
        for index, due in enumerate(chunk):
            await self._turn.pause()
            told = self._try(due.room_id, maker.tell, due, drafts.get(due.room_id), hot.get(due.room_id))
            if told is not None and not self._take(due.room_id, told):
                return chunk[index:]
        return ()

    def _take(self, room_id: str, told: Told) -> bool:
        """Whether it fitted."""
        if told.answer is not None:
            weight = told.answer.weight
            if self.answers and self._size + weight > MAX_ANSWER_BYTES:
                return False
            self.answers[room_id] = told.answer
            self._size += weight
        if told.owes_timeline:
            self.without_timeline.add(room_id)
        if told.delta is not None:
            self.deltas[room_id] = told.delta
        return True

    async def _hot(self, wants: Iterable[RoomWant | None]) -> dict[str, HotRoom]:
        """The rooms; those that are not in memory are read together."""
        hot: dict[str, HotRoom] = {}
        cold: list[RoomWant] = []
        for want in wants:
            if want is None:
                continue
            room = self._in_memory(want)
            if room is None:
                cold.append(want)
            else:
                hot[want.room_id] = room
        if cold:
            hot.update(await self._loaded(cold))
        return hot

    def _in_memory(self, want: RoomWant) -> HotRoom | None:
        room = self._global.hot(want, passing=self._passing)
        if room is not None and self._passing:
            self.held.append(room)
        return room

    async def _loaded(self, wants: Sequence[RoomWant]) -> dict[str, HotRoom]:
        """The rooms, read from the database; if one is to blame that they cannot be read together, one by one."""
        try:
            return await self._global.load(wants)
        except Exception as problem:
            if blame(problem) is Blame.DATABASE:
                raise
            if len(wants) == 1:
                self._fail(wants[0].room_id)
                return {}
        hot: dict[str, HotRoom] = {}
        for want in wants:
            hot.update(await self._loaded([want]))
        return hot

    def _try(self, room_id: str, make: Callable[[*_Args], _T | None], *args: *_Args) -> _T | None:
        """What is made of the room; `None` if it cannot be made."""
        if room_id in self.failed:
            return None
        try:
            return make(*args)
        except Exception:  # the others must still go out
            self._fail(room_id)
            return None

    def _fail(self, room_id: str) -> None:
        """Called while the error is being handled."""
        self.failed.add(room_id)
        room_failed(room_id, self._metrics)
