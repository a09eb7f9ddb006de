"""What is shown, worked out from what was shown before."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.caches.user_cache import UserCache
from syncproxy.connection.room_config import RoomConfig
from syncproxy.connection.visible import Configs, visible, visible_after
from syncproxy.protocol.required_state import required_state

ROOMS = [f"!{number}" for number in range(6)]
some_rooms = st.frozensets(st.sampled_from(ROOMS))
some_configs = st.sampled_from([RoomConfig(required_state((), "@a:hs"), limit) for limit in (1, 2)])
both_configs = st.tuples(some_configs, st.none() | some_configs)


@attrs.frozen
class FakeUser:
    """Is joined to all rooms; `predecessors` by room."""

    listed: frozenset[str]
    predecessors: Mapping[str, str]

    def is_listed(self, room_id: str) -> bool:
        return room_id in self.listed

    def summary(self, room_id: str) -> Any:
        return SimpleNamespace(predecessor=self.predecessors.get(room_id))


def windows(*shown: frozenset[str]) -> Any:
    """Two lists with these rooms in their ranges."""
    return {key: SimpleNamespace(shown=rooms) for key, rooms in zip("ab", shown, strict=True)}


class VisibleTests(SynchronousTestCase):
    """The short way and the long way."""

    @given(
        st.fixed_dictionaries({"a": both_configs, "b": both_configs}),
        st.dictionaries(st.sampled_from(ROOMS), both_configs, max_size=3),
        st.tuples(some_rooms, some_rooms, some_rooms),
        st.tuples(some_rooms, some_rooms, some_rooms),
        st.dictionaries(st.sampled_from(ROOMS), st.sampled_from(ROOMS), max_size=3),
    )
    def test_same(self, lists: Any, subscriptions: Any, first: Any, second: Any, predecessors: Any) -> None:
        """Both say the same, and the short way tells all that is different."""
        wanted = Configs(lists, subscriptions)
        users = [cast(UserCache, FakeUser(listed, predecessors)) for *_, listed in (first, second)]
        before = visible(wanted, windows(*first[:2]), users[0], users[0].is_listed)
        now = visible_after(before, wanted, windows(*second[:2]), users[1], users[1].is_listed)
        whole = visible(wanted, windows(*second[:2]), users[1], users[1].is_listed)
        self.assertEqual(now.rooms, whole.rooms)
        self.assertEqual(
            (now.windows, now.subscribed, now.old_rooms), (whole.windows, whole.subscribed, whole.old_rooms)
        )
        if now is not before and now.difference is not None:
            came = {room_id for room_id, config in now.rooms.items() if before.rooms.get(room_id) != config}
            self.assertLessEqual(came, set(now.difference.came))
            self.assertEqual(set(now.difference.went), before.rooms.keys() - now.rooms.keys())
