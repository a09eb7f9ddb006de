"""Connections and caches with one fault each, as if a line of theirs was wrong: the random walk has to notice."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs
from msgspec.structs import replace

from syncproxy.caches.sorted_lists import ListSpec, SortedList
from syncproxy.caches.updates import Mark
from syncproxy.caches.user_cache import UserCache
from syncproxy.connection.built import Prepared
from syncproxy.connection.conn import Conn
from syncproxy.connection.conn_state import ConnState
from syncproxy.connection.list_part import ListsAnswer
from syncproxy.connection.marks import Marks
from syncproxy.connection.windows import ListWindow
from syncproxy.protocol.request import Range
from syncproxy.protocol.response import Delete, Insert, ListAnswer, Op, RoomAnswer
from tests.connection.happenings import SPACES

# Marks


class Forgetful(Conn):
    """Loses one mark in five."""

    _heard = 0

    def mark_room(self, room_id: str, mark: Mark) -> None:
        self._heard += 1
        if self._heard % 5:
            super().mark_room(room_id, mark)


class DeafToCounts(Conn):
    """Does not hear of unread counts."""

    def mark_room(self, room_id: str, mark: Mark) -> None:
        super().mark_room(room_id, mark & ~Mark.COUNTS)


# What is answered


def with_state(kind: type[ConnState]) -> type[Conn]:
    """A connection that has a state of another kind."""

    class Faulty(Conn):
        _kind_of_state = kind

    return Faulty


def with_ranges(alter: Callable[[Range], Range]) -> type[Conn]:
    """A connection that has other ranges than it was asked for."""

    class Altered(ConnState):
        def _lists(self, prepared: Prepared, marks: Marks, user: UserCache) -> ListsAnswer:
            lists = {
                key: attrs.evolve(config, ranges=config.ranges and tuple(map(alter, config.ranges)))
                for key, config in prepared.params.lists.items()
            }
            params = attrs.evolve(prepared.params, lists=lists)
            return super()._lists(replace(prepared, params=params), marks, user)

    return with_state(Altered)


def with_lists(alter: Callable[[ListAnswer, ListWindow | None], ListAnswer]) -> type[Conn]:
    """A connection that answers differently of lists; `alter` is given the list as last sent, too."""

    class Altered(ConnState):
        def _lists(self, prepared: Prepared, marks: Marks, user: UserCache) -> ListsAnswer:
            lists = super()._lists(prepared, marks, user)
            answers = {key: alter(one, self._windows.get(key)) for key, one in lists.answers.items()}
            return replace(lists, answers=answers)

    return with_state(Altered)


def with_rooms(alter: Callable[[RoomAnswer], RoomAnswer | None]) -> type[Conn]:
    """A connection that answers differently of rooms after its first answer, or not at all."""

    class Altered(ConnState):
        async def _rooms(self, *parts: Any) -> Any:
            made = await super()._rooms(*parts)
            if self._position is None:
                return made
            altered = {room_id: alter(answer) for room_id, answer in made.answers.items()}
            answers = {room_id: answer for room_id, answer in altered.items() if answer is not None}
            return replace(made, answers=answers)

    return with_state(Altered)


def stale_count(answer: ListAnswer, before: ListWindow | None) -> ListAnswer:
    """The count of the answer before."""
    return answer if before is None else replace(answer, count=before.window.count)


def inserted_at_the_other_end(answer: ListAnswer, before: ListWindow | None) -> ListAnswer:
    """DELETE and INSERT have changed places."""
    ops: list[Op] = list(answer.ops)
    for number, (op, following) in enumerate(zip(answer.ops, answer.ops[1:], strict=False)):
        if isinstance(op, Delete) and isinstance(following, Insert):
            ops[number : number + 2] = Delete(following.index), Insert(op.index, following.room_id)
    return replace(answer, ops=tuple(ops))


def without_ops(kind: type[Op]) -> Callable[[ListAnswer, ListWindow | None], ListAnswer]:
    """Ops of this kind are left out."""
    return lambda answer, _: replace(answer, ops=tuple(op for op in answer.ops if not isinstance(op, kind)))


def unless_initial(alter: Callable[[RoomAnswer], RoomAnswer]) -> Callable[[RoomAnswer], RoomAnswer]:
    """Another answer of rooms that the client has."""
    return lambda answer: answer if answer.initial else alter(answer)


def without_first_event(answer: RoomAnswer) -> RoomAnswer:
    """The oldest event of a live timeline is left out."""
    return replace(answer, timeline=answer.timeline[1:], timeline_ids=answer.timeline_ids[1:])


# Caches


def unsorted_by(fact: Callable[[UserCache, str], object]) -> type[UserCache]:
    """A cache whose lists do not look at a room again when this fact of it became another one during a stay."""

    class Unsorted(UserCache):
        def __init__(self, *parts: Any) -> None:
            super().__init__(*parts)
            self._seen: dict[str, tuple[object, object]] = {}

        def reevaluate(self, room_ids: Iterable[str]) -> None:
            super().reevaluate([room_id for room_id in room_ids if not self._is_other(room_id)])

        def _is_other(self, room_id: str) -> bool:
            row = self.room(room_id)
            now = row and row.membership_nid, fact(self, room_id)
            before, self._seen[room_id] = self._seen.get(room_id, now), now
            return before != now and before[0] == now[0]

    return Unsorted


def newest_event(user: UserCache, room_id: str) -> object:
    """Which event of the room is the newest."""
    summary = user.summary(room_id)
    return summary and summary.newest


def counts(user: UserCache, room_id: str) -> object:
    """The user's unread counts."""
    row = user.room(room_id)
    return row and (row.notification_count, row.highlight_count)


def is_encrypted(user: UserCache, room_id: str) -> object:
    """Whether the room is encrypted."""
    summary = user.summary(room_id)
    return summary and summary.encrypted


def is_replaced(user: UserCache, room_id: str) -> object:
    """Whether the user is joined to what replaces the room."""
    summary = user.summary(room_id)
    row = user.room(summary.replacement) if summary is not None and summary.replacement else None
    return row is not None and row.membership == "join"


def spaces(user: UserCache, room_id: str) -> object:
    """The joined spaces that list the room itself."""
    summaries = [user.summary(space_id) for space_id in SPACES]
    return [summary.room_id for summary in summaries if summary is not None and room_id in summary.children]


class BumpedByAnything(UserCache):
    """Sorts by the newest event of any type."""

    def acquire_list(self, spec: ListSpec) -> SortedList:
        return super().acquire_list(attrs.evolve(spec, bump_event_types=None))

    def release_list(self, spec: ListSpec) -> None:
        super().release_list(attrs.evolve(spec, bump_event_types=None))


def with_filters(**members: Any) -> type[UserCache]:
    """A cache that does not know some members of `filters`."""

    class Unfiltered(UserCache):
        def acquire_list(self, spec: ListSpec) -> SortedList:
            return super().acquire_list(_known(spec))

        def release_list(self, spec: ListSpec) -> None:
            super().release_list(_known(spec))

    def _known(spec: ListSpec) -> ListSpec:
        return attrs.evolve(spec, filters=attrs.evolve(spec.filters, **members))

    return Unfiltered
