"""A connection's state: a value that answers are made from, and the delta that each answer adds to it.

`build` reads and changes nothing. The delta that it yields is folded in when the client acknowledges the answer; a
lost answer leaves the state as it was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
from twisted.internet.interfaces import IReactorTime

from syncproxy.caches.global_cache import GlobalCache
from syncproxy.caches.hot_room import HotRoom, RoomWant
from syncproxy.caches.updates import Listener, Mark, UserMark
from syncproxy.caches.user_cache import UserCache
from syncproxy.caches.user_cache_map import UserCacheMap
from syncproxy.connection.due import Due, DueRoom, Reason, Shown, due_rooms
from syncproxy.connection.extension_part import Factories, enabled, extensions_answer
from syncproxy.connection.marks import Marks
from syncproxy.connection.params import Params
from syncproxy.connection.room_answers import Moment, RoomAnswers
from syncproxy.connection.room_config import RoomConfig
from syncproxy.connection.sent import RoomDelta, SentRooms
from syncproxy.connection.visible import Configs, Visible, configs, visible
from syncproxy.connection.whole_members import CompleteMembers, members_completed
from syncproxy.connection.windows import ListSources, ListWindow, advanced, list_spec
from syncproxy.extensions.core import Context, Extension
from syncproxy.matrix.devices import Device
from syncproxy.protocol.dialect import Semantics
from syncproxy.protocol.request import Request
from syncproxy.protocol.required_state import required_state
from syncproxy.protocol.response import ListAnswer, RoomAnswer
from syncproxy.turns import Turn

#: rooms that are brought into memory together
_CHUNK = 100
#: rooms that would make an answer larger than this, in bytes, wait for the next one; a room that is larger goes alone
MAX_ANSWER_BYTES = 16 * 1024 * 1024
#: what may have changed in a room while nobody told
_ANYTHING = Mark(2 * max(Mark) - 1)
_ANYTHING_ELSE = UserMark(2 * max(UserMark) - 1)


@attrs.frozen(eq=False)
class Prepared:
    """A request, understood: the parameters that it leaves in force, and the extensions in use."""

    params: Params
    configs: Configs
    semantics: Semantics
    extensions: Mapping[str, Extension]


@attrs.frozen(eq=False)
class Delta:
    """What an answer changes once it is acknowledged."""

    prepared: Prepared
    windows: Mapping[str, ListWindow]
    visible: Visible
    rooms: Mapping[str, RoomDelta]
    extensions: Mapping[str, Any]
    position: int
    #: rooms that are shown, due, and did not fit
    leftovers: bool


@attrs.frozen(eq=False)
class Built:
    """The parts of an answer. `news`: there is reason enough to send it at once; `unserved` marks stay pending."""

    lists: Mapping[str, ListAnswer]
    rooms: Mapping[str, RoomAnswer]
    extensions: Mapping[str, bytes]
    news: bool
    delta: Delta
    unserved: Marks


@attrs.frozen(eq=False)
class _Snapshot:
    """What belongs to one moment: windows, what is shown, what is due."""

    windows: Mapping[str, ListWindow]
    lists: Mapping[str, ListAnswer]
    news: bool
    visible: Visible
    due: Due
    position: int


class ConnState:
    """One connection's acknowledged state, and the making of answers from it."""

    def __init__(
        self,
        device: Device,
        listener: Listener,
        global_cache: GlobalCache,
        user_caches: UserCacheMap,
        factories: Factories,
        clock: IReactorTime,
        complete_members: CompleteMembers,
    ) -> None:
        self._complete_members = complete_members
        self._device = device
        self._listener = listener
        self._global = global_cache
        self._users = user_caches
        self._factories = factories
        self._clock = clock
        self._user: UserCache | None = None
        self._sources: ListSources | None = None
        self._params = Params()
        self._configs = Configs({}, {})
        self._windows: Mapping[str, ListWindow] = {}
        self._visible = Visible()
        self._sent = SentRooms()
        self._extensions: Mapping[str, Extension] = {}
        self._position: int | None = None
        self._leftovers = False

    async def prepare(self, request: Request, semantics: Semantics) -> Prepared:
        """What a request asks for, the acknowledged parameters being those before. Raises `InvalidParam`."""
        params = self._params.merged(request, semantics)
        await self.user()
        wanted = self._configs
        if params.lists is not self._params.lists or params.subscriptions is not self._params.subscriptions:
            wanted = configs(params, self._device.user_id)
        return Prepared(params, wanted, semantics, enabled(self._extensions, params, self._factories, self._device))

    async def user(self) -> UserCache:
        """The user's cache, told of this connection; another one if the last was thrown away."""
        user = self._user
        while user is None or user.evicted:
            user = self._users.get(self._device.user_id) or await self._users.load(self._device.user_id)
        if user is not self._user:
            is_first, self._user = self._user is None, user
            self._sources = ListSources(user)
            user.add_listener(self._listener)
            if not is_first:
                self._mark_everything()
        return user

    async def build(self, prepared: Prepared, marks: Marks) -> Built:
        """An answer as of now. Raises what the database or an extension raises, and changes nothing then."""
        while True:
            user = await self.user()
            built = await self._built(prepared, marks, user)
            # a cache that was thrown away meanwhile heard nothing since, not even of a leave
            if not user.evicted:
                return built

    async def _built(self, prepared: Prepared, marks: Marks, user: UserCache) -> Built:
        snapshot = self._snapshot(prepared, marks, user)
        rooms, deltas, unserved = await self._rooms(prepared, snapshot, user)
        context = Context(
            device=self._device,
            user=user,
            global_cache=self._global,
            rooms=rooms,
            windows=snapshot.visible.windows,
            subscribed=snapshot.visible.subscribed,
            room_marks=marks.rooms,
            user_marks=marks.user,
        )
        extended = await extensions_answer(prepared.extensions, prepared.params, context)
        for room_id in snapshot.due.hidden:
            if room_id not in unserved.rooms:
                deltas.setdefault(room_id, RoomDelta(None))
        delta = Delta(
            prepared,
            snapshot.windows,
            snapshot.visible,
            deltas,
            extended.deltas,
            snapshot.position,
            leftovers=bool(unserved.rooms) or any(_is_owed(due, deltas) for due in snapshot.due.rooms.values()),
        )
        news = snapshot.news or bool(rooms) or extended.news
        return Built(snapshot.lists, rooms, extended.data, news, delta, unserved)

    def fold(self, delta: Delta) -> None:
        """The client has the answer that yielded this."""
        prepared = delta.prepared
        self._params, self._configs = prepared.params, prepared.configs
        self._windows, self._visible = delta.windows, delta.visible
        self._position, self._leftovers = delta.position, delta.leftovers
        self._extensions = prepared.extensions
        for room_id, room in delta.rooms.items():
            self._sent.fold(room_id, room)
        for name, extension in delta.extensions.items():
            self._extensions[name].fold(extension)
        if self._sources is not None:
            self._sources.keep([window.spec for window in self._windows.values()])

    def close(self) -> None:
        """Nobody asks any more."""
        if self._user is not None:
            self._user.remove_listener(self._listener)
        if self._sources is not None:
            self._sources.keep(())

    # One moment

    def _snapshot(self, prepared: Prepared, marks: Marks, user: UserCache) -> _Snapshot:
        windows, lists, news = self._advance(prepared.params, marks)
        shown = self._shown(prepared, windows, marks, user)
        unseen = RoomConfig(required_state((), self._device.user_id), 0)
        anew: Collection[str] = ()
        if prepared.configs is not self._configs:
            anew = prepared.configs.subscriptions.keys() - self._configs.subscriptions.keys()
        view = Shown(self._visible, shown, anew, self._sent, marks.rooms, unseen, self._leftovers)
        due = due_rooms(view, prepared.semantics, self._is_listed(windows), self._has_left(prepared.params, user))
        return _Snapshot(windows, lists, news, shown, due, user.position())

    def _advance(self, params: Params, marks: Marks) -> tuple[Mapping[str, ListWindow], Mapping[str, ListAnswer], bool]:
        assert self._sources is not None
        windows: dict[str, ListWindow] = {}
        lists: dict[str, ListAnswer] = {}
        news = False
        for key, config in params.lists.items():
            before = self._windows.get(key)
            unchanged = before is not None and self._params.lists.get(key) is config
            spec = before.spec if before is not None and unchanged else list_spec(config)
            step = advanced(before, config, spec, self._sources.source(spec), marks.rooms)
            windows[key], lists[key] = step.window, step.answer
            news = news or step.news
        return windows, lists, news

    def _shown(self, prepared: Prepared, windows: Mapping[str, ListWindow], marks: Marks, user: UserCache) -> Visible:
        """What is shown now; the same object as before if nothing can have changed."""
        if (
            prepared.configs is self._configs
            and windows.keys() == self._windows.keys()
            and all(window is self._windows[key] for key, window in windows.items())
            and not self._is_affected(prepared, marks)
        ):
            return self._visible
        return visible(prepared.configs, windows, user)

    def _is_affected(self, prepared: Prepared, marks: Marks) -> bool:
        """Whether marks may change what is shown beside the lists: subscriptions that open, chains of old rooms."""
        subscriptions, shown = prepared.configs.subscriptions, self._visible.rooms
        if subscriptions and marks.user & UserMark.ACCOUNT_DATA:
            # whoever is ignored now: their invites are not shown
            return True
        chained = prepared.configs.has_old_rooms

        def affects(room_id: str, mark: Mark) -> bool:
            if mark & Mark.MEMBERSHIP:
                return chained or room_id in subscriptions
            # what was withheld may be seen now: all of it is marked
            return room_id not in shown and (room_id in subscriptions or (chained and bool(mark & Mark.STATE)))

        return any(affects(room_id, mark) for room_id, mark in marks.rooms.items())

    @staticmethod
    def _is_listed(windows: Mapping[str, ListWindow]) -> Any:
        return lambda room_id: any(room_id in window.source for window in windows.values())

    def _has_left(self, params: Params, user: UserCache) -> Any:
        shows_rooms = bool(params.lists or params.subscriptions)

        def has_left(room_id: str) -> bool:
            """Whether the user is out of a room that the client has, or was thrown out of any, and was not told."""
            row = user.room(room_id)
            if row is None or row.membership not in ("leave", "ban"):
                return False
            leave = user.leave_event(room_id)
            if leave is None or self._sent.leave(room_id) == leave.event_id:
                return False
            return self._sent.get(room_id) is not None or (row.removed and shows_rooms)

        return has_left

    # Rooms

    async def _rooms(
        self, prepared: Prepared, snapshot: _Snapshot, user: UserCache
    ) -> tuple[dict[str, RoomAnswer], dict[str, RoomDelta], Marks]:
        """The rooms' objects, what they change, and the marks of rooms that did not fit."""
        answers: dict[str, RoomAnswer] = {}
        deltas: dict[str, RoomDelta] = {}
        due = list(snapshot.due.rooms.values())
        if not due:
            return answers, deltas, Marks({}, UserMark(0))
        await members_completed(due, self._device, self._global, self._complete_members, self._clock)
        maker = RoomAnswers(self._moment(prepared, user))
        size = 0
        turn = Turn(self._clock)
        left: Sequence[DueRoom] = ()
        while due and not left:
            chunk, due = due[:_CHUNK], due[_CHUNK:]
            size, left = await self._chunk(maker, chunk, answers, deltas, turn, size)
        unserved = {one.room_id: one for one in (*left, *due)}
        # what is to be as if it were new stays so: the next answer does not see that it was asked for again
        deltas.update({room_id: RoomDelta(None) for room_id, one in unserved.items() if one.reason is Reason.INITIAL})
        return answers, deltas, Marks({room_id: one.mark for room_id, one in unserved.items()}, UserMark(0))

    async def _chunk(
        self,
        maker: RoomAnswers,
        chunk: Sequence[DueRoom],
        answers: dict[str, RoomAnswer],
        deltas: dict[str, RoomDelta],
        turn: Turn,
        size: int,
    ) -> tuple[int, Sequence[DueRoom]]:
        """The answer's size in bytes, which was `size` before these rooms, and those that do not fit any more."""
        hot = await self._hot(maker.want(due) for due in chunk)
        drafts = {}
        for due in chunk:
            await turn.pause()
            draft = maker.draft(due, hot.get(due.room_id))
            if draft is not None:
                drafts[due.room_id] = draft
        await self._hot(maker.want_members(draft) for draft in drafts.values())
        for index, due in enumerate(chunk):
            await turn.pause()
            told = maker.tell(due, drafts.get(due.room_id), hot.get(due.room_id))
            if told.answer is not None:
                weight = told.answer.weight
                if answers and size + weight > MAX_ANSWER_BYTES:
                    return size, chunk[index:]
                answers[due.room_id] = told.answer
                size += weight
            if told.delta is not None:
                deltas[due.room_id] = told.delta
        return size, ()

    async def _hot(self, wants: Iterable[RoomWant | None]) -> dict[str, HotRoom]:
        """The rooms; those that are not in memory are read together."""
        hot: dict[str, HotRoom] = {}
        cold: list[RoomWant] = []
        for want in wants:
            if want is None:
                continue
            room = self._global.hot(want)
            if room is None:
                cold.append(want)
            else:
                hot[want.room_id] = room
        if cold:
            hot.update(await self._global.load(cold))
        return hot

    def _moment(self, prepared: Prepared, user: UserCache) -> Moment:
        typing = "typing" in prepared.extensions
        types = [config.bump_event_types for config in prepared.params.lists.values() if config.bump_event_types]
        bump_types = frozenset().union(*types) if types else None
        semantics = prepared.semantics
        return Moment(
            self._device, user, self._global, self._sent, self._position, typing, semantics.most_live_events, bump_types
        )

    def _left_since(self, user: UserCache | None) -> Iterator[str]:
        """Rooms that the user was put out of since the last answer: a kick is told of any room."""
        since = self._position
        if user is None or since is None:
            return
        for room_id, row in user.rooms().items():
            if row.removed and row.membership_nid > since:
                yield room_id

    def _mark_everything(self) -> None:
        """The user's cache was made anew: nobody knows what it did not tell."""
        for room_id in {*self._sent.rooms, *self._left_since(self._user)}:
            self._listener.mark_room(room_id, _ANYTHING)
        self._listener.mark_user(_ANYTHING_ELSE)


def _is_owed(due: DueRoom, deltas: Mapping[str, RoomDelta]) -> bool:
    """Whether a room that the client must get could not be sent."""
    return due.reason is Reason.INITIAL and due.room_id not in deltas
