"""Lists, kept in order by what changes, against lists made anew as the specification says them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.caches.sorted_lists import ListSpec, SharedLists, SortedList
from syncproxy.protocol.request import Filters, Sort
from tests.caches.list_model import PlainRoom, listed

ROOM_IDS = ("!a", "!b", "!c", "!d", "!e")
SORTS: tuple[Sort, ...] = (
    "by_recency",
    "by_name",
    "by_notification_level",
    "by_notification_count",
    "by_highlight_count",
)
EVENT_TYPES = ("m.room.message", "m.reaction", "m.room.topic")


def sound(room: PlainRoom) -> PlainRoom:
    """The room with the one highlight that each invite has."""
    return attrs.evolve(room, highlight_count=1) if room.is_invite else room


flags = st.booleans()
names = st.sampled_from(("", "Alpha", "#alpha:_", "(ALPHA)", "al_pha", "Straße", "STRASSE!", "_beta@", "Beta"))
tags = st.frozensets(st.sampled_from(("m.favourite", "m.lowpriority", "u.x")))
types = st.sampled_from((None, "m.space", "x"))
spaces = st.frozensets(st.sampled_from(("!s", "!t")))
times = st.tuples(st.integers(0, 2), st.integers(0, 2))
FACTS: Mapping[str, st.SearchStrategy[Any]] = {
    "name": names,
    "is_invite": flags,
    "is_dm": flags,
    "is_encrypted": flags,
    "is_tombstoned": flags,
    "room_type": types,
    "tags": tags,
    "notification_count": st.integers(0, 2),
    "highlight_count": st.integers(0, 2),
    "spaces": spaces,
    "events": st.lists(st.tuples(st.sampled_from(EVENT_TYPES), times), max_size=4),
    "joined": times,
}
FILTERS: Mapping[str, st.SearchStrategy[Any]] = {
    "is_dm": flags,
    "is_encrypted": flags,
    "is_invite": flags,
    "is_tombstoned": flags,
    "spaces": spaces,
    "room_types": st.frozensets(types),
    "not_room_types": st.frozensets(types),
    "tags": tags,
    "not_tags": tags,
    "room_name_like": st.sampled_from(("", "alph", "ALPHA", "ß", "ss", "b")),
}
rooms = st.fixed_dictionaries(
    {room_id: st.builds(PlainRoom, st.just(room_id), **FACTS).map(sound) for room_id in ROOM_IDS}
)
filters = st.fixed_dictionaries({}, optional=FILTERS).map(lambda chosen: Filters(**chosen))
bump_types = st.none() | st.frozensets(st.sampled_from(EVENT_TYPES), min_size=1)
specs = st.builds(ListSpec, filters, st.lists(st.sampled_from(SORTS), min_size=1, max_size=3).map(tuple), bump_types)
changes = st.lists(
    st.sampled_from(tuple(FACTS)).flatmap(lambda name: st.tuples(st.sampled_from(ROOM_IDS), st.just(name), FACTS[name]))
)


def order(source: SortedList) -> list[str]:
    return list(source.window(0, 99))


def expected(found: Mapping[str, PlainRoom], spec: ListSpec) -> list[str]:
    return listed(found.values(), spec.filters, spec.sort, spec.bump_event_types)


class ListModelTests(SynchronousTestCase):
    """Every filter and sort, alone, together, and while the rooms change."""

    def assertListed(self, found: Mapping[str, PlainRoom], spec: ListSpec) -> None:
        lists = SharedLists(found.get, lambda: found)
        self.assertEqual(order(lists.acquire(spec)), expected(found, spec), spec)

    @settings(deadline=None, max_examples=50)
    @given(rooms, st.data())
    def test_every_filter_alone(self, found: Mapping[str, PlainRoom], data: st.DataObject) -> None:
        """Each filter keeps what its row says."""
        for name, values in FILTERS.items():
            self.assertListed(found, ListSpec(Filters(**{name: data.draw(values)})))

    @settings(deadline=None, max_examples=15)
    @given(rooms, st.data())
    def test_every_pair_of_filters(self, found: Mapping[str, PlainRoom], data: st.DataObject) -> None:
        """Two filters keep what each of them keeps."""
        for pair in combinations(FILTERS, 2):
            self.assertListed(found, ListSpec(Filters(**{name: data.draw(FILTERS[name]) for name in pair})))

    @settings(deadline=None, max_examples=50)
    @given(rooms, bump_types)
    def test_every_sort_and_every_pair(self, found: Mapping[str, PlainRoom], types: frozenset[str] | None) -> None:
        """Each sort alone, and each where another one sees no difference; the room id is the last to tell."""
        for sort in (*((one,) for one in SORTS), *((one, other) for one in SORTS for other in SORTS)):
            self.assertListed(found, ListSpec(Filters(), sort, types))

    @settings(deadline=None, max_examples=50)
    @given(rooms, st.lists(specs, min_size=1, max_size=4), changes)
    def test_live_changes(
        self, found: dict[str, PlainRoom], wanted: list[ListSpec], changes: list[tuple[str, str, Any]]
    ) -> None:
        """Whatever changes in a room: looked at again, it stands in each list where it does in one made anew."""
        lists = SharedLists(found.get, lambda: found)
        sources = [(spec, lists.acquire(spec)) for spec in wanted]
        for room_id, name, value in changes:
            before = [order(source) for _, source in sources]
            found[room_id] = sound(attrs.evolve(found[room_id], **{name: value}))
            changed = lists.reevaluate([room_id])
            now = [order(source) for _, source in sources]
            self.assertEqual(now, [expected(found, spec) for spec, _ in sources])
            self.assertEqual(changed, before != now)
