"""A connection's state: a value that answers are made from, and the delta that each answer adds to it.

`build` reads and changes nothing. The delta that it yields is folded in when the client acknowledges the answer; a
lost answer leaves the state as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Set
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import replace
from twisted.internet.interfaces import IReactorTime

from syncproxy.caches.global_cache import GlobalCache
from syncproxy.caches.hot_room import HotRoom
from syncproxy.caches.updates import Deaf, Listener, Mark, UserMark, both
from syncproxy.caches.user_cache import UserCache
from syncproxy.caches.user_cache_map import UserCacheMap
from syncproxy.connection.built import Built, Delta, Prepared
from syncproxy.connection.due import Due, DueRoom, Reason, Shown, due_rooms, leave_is_due
from syncproxy.connection.extension_part import Factories, enabled, extensions_answer, is_persistent, restored
from syncproxy.connection.first_tokens import FindToken, TokenSearch, no_token
from syncproxy.connection.list_part import ListsAnswer, lists_answer
from syncproxy.connection.marks import Marks
from syncproxy.connection.packing import Snapshot
from syncproxy.connection.params import Merging, Params
from syncproxy.connection.returning import missed_of
from syncproxy.connection.room_answers import Moment, RoomAnswers
from syncproxy.connection.room_batch import RoomBatch, RoomMaker
from syncproxy.connection.room_config import RoomConfig
from syncproxy.connection.sent import RoomDelta, SentRooms
from syncproxy.connection.simplified_rooms import SimplifiedRooms
from syncproxy.connection.slices import left_rooms
from syncproxy.connection.visible import Configs, Visible, configs, may_be_changed, visible, visible_after
from syncproxy.connection.whole_members import CompleteMembers, members_completed
from syncproxy.connection.windows import ListSources, ListWindow
from syncproxy.extensions.core import Context, Extension
from syncproxy.matrix.devices import Device
from syncproxy.metrics import Metrics
from syncproxy.protocol.dialect import Semantics
from syncproxy.protocol.request import Request
from syncproxy.protocol.required_state import required_state
from syncproxy.protocol.response import RoomAnswer
from syncproxy.turns import Turn

_MEMBERSHIP = int(Mark.MEMBERSHIP)
#: what may have changed in a room while nobody told
_ANYTHING = Mark(2 * max(Mark) - 1)
_MAKERS: Mapping[str, Callable[[Moment], RoomMaker]] = {"msc3575": RoomAnswers, "msc4186": SimplifiedRooms}
#: extensions that have nothing to do with rooms
_ROOMLESS = frozenset({"to_device", "e2ee"})
_ANYTHING_ELSE = UserMark(2 * max(UserMark) - 1)


class _Rooms(msgspec.Struct, frozen=True):
    """The rooms of an answer, what they change, the marks of those that did not fit, and whether any is owed."""

    answers: Mapping[str, RoomAnswer] = msgspec.field(default_factory=dict)
    deltas: Mapping[str, RoomDelta] = msgspec.field(default_factory=dict)
    unserved: Mapping[str, Mark] = msgspec.field(default_factory=dict)
    leftovers: bool = False
    #: what extensions find in memory as long as this is there
    held: Collection[HotRoom] = ()


class _Snapshot(msgspec.Struct, frozen=True, eq=False):
    """What belongs to one moment: lists, what is shown, what is due."""

    lists: ListsAnswer
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
        metrics: Metrics,
        complete_members: CompleteMembers,
        find_token: FindToken = no_token,
    ) -> None:
        self._metrics = metrics
        self._complete_members = complete_members
        self._find_token = find_token
        self._device = device
        self._listener: Listener = listener
        self._global = global_cache
        self._users = user_caches
        self._factories = factories
        self._clock = clock
        self._user: UserCache | None = None
        self._sources: ListSources | None = None
        #: how a room goes out that the client was never sent
        self._unseen = RoomConfig(required_state((), device.user_id), 0)
        self._params = Params()
        self._configs = Configs({}, {})
        self._windows: Mapping[str, ListWindow] = {}
        self._visible = Visible()
        self._sent = SentRooms()
        self._extensions: Mapping[str, Extension] = {}
        #: what the acknowledged answer was asked for; `None`: none is, or it is of another process
        self._answered: Prepared | None = None
        self._merging = Merging()
        self._position: int | None = None
        self._leftovers = False
        #: whether it was restored, and what its client was shown is not known
        self._is_restored = False

    async def prepare(self, request: Request, semantics: Semantics) -> Prepared:
        """What a request asks for, the acknowledged parameters being those before. Raises `InvalidParam`."""
        params = self._merging.merged(self._params, request, semantics)
        await self.user()
        wanted = self._configs
        if params.lists is not self._params.lists or params.subscriptions is not self._params.subscriptions:
            wanted = configs(params, self._device.user_id)
        extensions = enabled(self._extensions, params, self._factories, self._device)
        keeps = semantics.keeps_subscriptions_without_conn_id and not request.conn_id
        return Prepared(params, wanted, semantics, extensions, keeps)

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
            elif self._is_restored:
                self._mark_missed(user)
        return user

    @property
    def is_outdated(self) -> bool:
        """Whether the user's cache was thrown away: there may be something new that nobody tells."""
        return self._user is not None and self._user.evicted

    def is_asked_the_same(self, prepared: Prepared) -> bool:
        """Whether a request wants just what the acknowledged answer was made of."""
        return self._answered is not None and prepared.wants_the_same(self._answered)

    def adds_nothing(self, delta: Delta) -> bool:
        """Whether an answer leaves the state as it is, save for the position."""
        return (
            not delta.changes_state
            and self.is_asked_the_same(delta.prepared)
            and delta.visible is self._visible
            and all(window is self._windows.get(key) for key, window in delta.windows.items())
        )

    def moved(self, delta: Delta) -> Delta:
        """The same as of now, for an answer that adds nothing."""
        position = delta.position if self._user is None else self._user.position()
        return delta if delta.position == position else replace(delta, position=position)

    def hears_rooms(self, prepared: Prepared) -> bool:
        """Whether an answer may depend on what happens in rooms.

        It does not for a client that has none, and asks for messages and keys alone, its request being all it wants.
        """
        params = prepared.params
        if prepared.semantics.sticky or params.lists or params.subscriptions or self._sent.rooms:
            return True
        return not prepared.extensions.keys() <= _ROOMLESS

    async def build(self, prepared: Prepared, marks: Marks) -> Built:
        """An answer as of now. Raises what the database raises, and changes nothing then.

        A room or extension on which the program stumbles is not in it.
        """
        while True:
            user = await self.user()
            built = await self._built(prepared, marks, user)
            # a cache that was thrown away meanwhile heard nothing since, not even of a leave
            if not user.evicted:
                return built

    async def _built(self, prepared: Prepared, marks: Marks, user: UserCache) -> Built:
        snapshot = self._snapshot(prepared, marks, user)
        made = await self._rooms(prepared, snapshot, user)
        turn = Turn(self._clock)
        context = Context(
            device=self._device,
            user=user,
            global_cache=self._global,
            rooms=made.answers,
            windows=snapshot.visible.windows,
            subscribed=snapshot.visible.subscribed,
            room_marks=marks.rooms,
            user_marks=marks.user,
            rules=prepared.semantics.extensions,
            sent=self._sent.rooms,
            is_listed=self._is_listed(snapshot.lists.windows),
            unheard=prepared if self._is_restored or self._is_asked_again(prepared) else None,
            pause=turn.pause,
        )
        extended = await extensions_answer(prepared.extensions, prepared.params, context, self._metrics, turn)
        hidden = {room_id: RoomDelta(None) for room_id in snapshot.due.hidden if room_id not in made.unserved}
        delta = Delta(
            prepared,
            snapshot.lists.windows,
            snapshot.visible,
            {**hidden, **made.deltas},
            extended.deltas,
            snapshot.position,
            made.leftovers,
            is_first=self._position is None,
            subscribes=prepared.keeps_subscriptions and prepared.params.subscriptions != self._params.subscriptions,
        )
        # of what was restored it is not known what its lists showed: the rooms tell whether there is anything new
        lists_news = snapshot.lists.news and not self._is_restored
        news = lists_news or bool(made.answers) or extended.news
        settled = extended.settled and not (made.leftovers or made.unserved)
        return Built(snapshot.lists.answers, made.answers, extended.data, news, delta, marks, made.unserved, settled)

    def _is_asked_again(self, prepared: Prepared) -> bool:
        """Whether an extension is in use that was before, but not in the last answer that the client has."""
        in_use: Set[str] = frozenset() if self._answered is None else self._answered.extensions.keys()
        return bool(self._extensions.keys() & (prepared.extensions.keys() - in_use))

    def fold(self, delta: Delta) -> None:
        """The client has the answer that yielded this."""
        prepared = delta.prepared
        self._params, self._configs = prepared.params, prepared.configs
        self._windows, self._visible = delta.windows, delta.visible
        self._position, self._leftovers = delta.position, delta.leftovers
        self._is_restored = False
        self._answered = prepared
        # what is not asked for once is forgotten where that says that it is not wanted any more
        kept = {} if prepared.semantics.sticky else self._extensions
        self._extensions = {**kept, **prepared.extensions}
        for room_id, room in delta.rooms.items():
            self._sent.fold(room_id, room)
        for name, extension in delta.extensions.items():
            self._extensions[name].fold(extension)
        if self._sources is not None:
            self._sources.keep([window.spec for window in self._windows.values()])

    # What is kept

    def snapshot(self) -> Snapshot:
        """All that the client is known to have."""
        extensions = {name: one.packed(None) for name, one in self._extensions.items() if is_persistent(one)}
        return Snapshot(self._position or 0, self._sent.rooms, self._params.subscriptions, extensions)

    def snapshot_of(self, delta: Delta) -> Snapshot:
        """What an answer adds to that."""
        extensions = {
            name: one.packed(delta.extensions[name])
            for name, one in delta.prepared.extensions.items()
            if name in delta.extensions and is_persistent(one)
        }
        subscriptions = delta.prepared.params.subscriptions if delta.subscribes else None
        rooms = {room_id: room.sent for room_id, room in delta.rooms.items()}
        return Snapshot(delta.position, rooms, subscriptions, extensions)

    def restore(self, kept: Snapshot) -> None:
        """Begin with what was kept; before anything else."""
        self._position = kept.position
        self._params = Params(subscriptions=kept.subscriptions or {})
        self._configs = configs(self._params, self._device.user_id)
        self._is_restored = True
        for room_id, sent in kept.rooms.items():
            self._sent.fold(room_id, RoomDelta(sent))
        self._extensions = restored(kept.extensions, self._factories, self._device)

    async def changed_rooms(self) -> int:
        """In how many of the rooms that the client has there is something new."""
        user = await self.user()
        missed = partial(missed_of, user, self._device.device_id)
        return sum(bool(missed(room_id, sent)) for room_id, sent in self._sent.rooms.items())

    def close(self) -> None:
        """Nobody asks any more."""
        if self._user is not None:
            self._user.remove_listener(self._listener)
        # the connection knows this state, too: in a circle they would stay until Python looks for such
        self._listener = Deaf(self._device.device_id)
        if self._sources is not None:
            self._sources.keep(())

    # One moment

    def _snapshot(self, prepared: Prepared, marks: Marks, user: UserCache) -> _Snapshot:
        lists = self._lists(prepared, marks, user)
        shown = self._shown(prepared, lists.windows, marks, user)
        anew: Collection[str] = ()
        if prepared.configs is not self._configs:
            anew = prepared.configs.subscriptions.keys() - self._configs.subscriptions.keys()
        semantics = prepared.semantics
        missed = None if semantics.forgets_hidden_rooms else partial(missed_of, user, self._device.device_id)
        view = Shown(self._visible, shown, anew, self._sent, marks.rooms, self._unseen, self._leftovers, missed)
        due = due_rooms(view, semantics, self._is_listed(lists.windows), self._has_left(prepared, user))
        return _Snapshot(lists, shown, due, user.position())

    def _lists(self, prepared: Prepared, marks: Marks, user: UserCache) -> ListsAnswer:
        assert self._sources is not None
        left = self._left_rooms(marks, user) if prepared.semantics.ops == "slices" else ()
        return lists_answer(prepared, self._windows, self._params, self._sources, left, user)

    def _left_rooms(self, marks: Marks, user: UserCache) -> Collection[str]:
        """The rooms that the client has, or is about to get, as rooms that the user left."""
        moved = [room_id for room_id, mark in marks.rooms.items() if both(mark, _MEMBERSHIP)]
        news = [room_id for room_id in moved if self._sent.get(room_id)]
        return left_rooms({*self._sent.left, *news}, user) if news or self._sent.left else ()

    def _shown(self, prepared: Prepared, windows: Mapping[str, ListWindow], marks: Marks, user: UserCache) -> Visible:
        """What is shown now; the same object as before if nothing can have changed."""
        may_show = user.is_listed if prepared.semantics.forgets_hidden_rooms else user.is_shown
        if (
            prepared.configs is not self._configs
            or windows.keys() != self._windows.keys()
            or may_be_changed(self._visible, prepared.configs, marks)
        ):
            return visible(prepared.configs, windows, user, may_show)
        if all(window is self._windows[key] for key, window in windows.items()):
            return self._visible
        return visible_after(self._visible, prepared.configs, windows, user, may_show)

    @staticmethod
    def _is_listed(windows: Mapping[str, ListWindow]) -> Any:
        return lambda room_id: any(room_id in window.source for window in windows.values())

    def _has_left(self, prepared: Prepared, user: UserCache) -> Callable[[str], bool]:
        params = prepared.params
        shows_unsent = prepared.semantics.forgets_hidden_rooms and bool(params.lists or params.subscriptions)
        return partial(leave_is_due, user, self._sent, shows_unsent=shows_unsent)

    # Rooms

    async def _rooms(self, prepared: Prepared, snapshot: _Snapshot, user: UserCache) -> _Rooms:
        """The rooms' objects, what they change, and what is left for the next answer."""
        due = list(snapshot.due.rooms.values())
        if not due:
            return _Rooms()
        await members_completed(due, self._device, self._global, self._complete_members, self._clock)
        maker = _MAKERS[prepared.semantics.rooms](self._moment(prepared, snapshot, user))
        batch = RoomBatch(maker, self._global, self._clock, self._metrics)
        left = await batch.make(due)
        owed = any(_is_owed(one, batch) for one in due)
        # what is to be as if it were new stays so: the next answer does not see that it was asked for again
        anew = {one.room_id: RoomDelta(None) for one in left if one.reason is Reason.INITIAL}
        unserved = {one.room_id: one.mark for one in left}
        # a timeline that waits for its token is looked for again in the next answer
        unserved |= {one.room_id: one.mark | Mark.TIMELINE for one in due if one.room_id in batch.without_timeline}
        return _Rooms(batch.answers, {**batch.deltas, **anew}, unserved, bool(left) or owed, batch.held)

    def _moment(self, prepared: Prepared, snapshot: _Snapshot, user: UserCache) -> Moment:
        typing = "typing" in prepared.extensions
        types = [config.bump_event_types for config in prepared.params.lists.values() if config.bump_event_types]
        bump_types = frozenset().union(*types) if types else None
        return Moment(
            device=self._device,
            user=user,
            global_cache=self._global,
            sent=self._sent,
            previous=self._position,
            typing=typing,
            most_live_events=prepared.semantics.most_live_events,
            bump_types=bump_types,
            windows=snapshot.visible.windows,
            tells_ended_state=prepared.semantics.tells_ended_state,
            tokens=TokenSearch(self._device, self._find_token, self._clock),
        )

    def _left_since(self, user: UserCache | None) -> Iterator[str]:
        """Rooms that the user was put out of since the last answer: a kick is told of any room."""
        since = self._position
        if user is None or since is None:
            return
        for room_id, row in user.rooms().items():
            if row.removed and row.membership_nid > since:
                yield room_id

    def _mark_missed(self, user: UserCache) -> None:
        """What changed while the connection was not in memory, in any room that the client has."""
        for room_id, sent in self._sent.rooms.items():
            mark = missed_of(user, self._device.device_id, room_id, sent)
            if mark:
                self._listener.mark_room(room_id, mark)
        self._listener.mark_user(_ANYTHING_ELSE)

    def _mark_everything(self) -> None:
        """The user's cache was made anew: nobody knows what it did not tell."""
        for room_id in {*self._sent.rooms, *self._left_since(self._user)}:
            self._listener.mark_room(room_id, _ANYTHING)
        self._listener.mark_user(_ANYTHING_ELSE)


def _is_owed(due: DueRoom, batch: RoomBatch) -> bool:
    """Whether a room that the client must get could not be sent yet."""
    return due.reason is Reason.INITIAL and due.room_id not in batch.deltas and due.room_id not in batch.failed
