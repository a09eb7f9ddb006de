"""Device-list changes through whole connections: whatever happens in whatever order, each reaches the device."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.protocol.request import ExtensionParams
from tests.extensions.walks import KEPT, LOST, Walk, connections, misfortunes

USERS = ("@bob:hs", "@carol:hs")

fates = st.sampled_from((LOST, KEPT))
steps = st.lists(
    st.one_of(
        misfortunes,
        st.tuples(st.just("poll"), st.sampled_from(USERS), st.sampled_from(("changed", "left"))),
        st.tuples(st.just("sync"), connections, fates),
        st.tuples(st.just("repeat"), connections, fates),
    ),
    max_size=30,
)


class DeviceListWalk(Walk):
    """The device has not heard of the changes in `unheard`: of each user what happened last."""

    name = "e2ee"

    def __init__(self, test: SynchronousTestCase) -> None:
        super().__init__(test)
        self.unheard: dict[str, str] = {}

    def poll(self, user_id: str, kind: str) -> None:
        """A change comes, if it can be stored."""
        if not self.writer.away:
            self.newest += 1
            self.reader.lists.append((self.newest, user_id, kind))
            self.unheard[user_id] = kind
            self.tell()

    def sync(self, name: str, fate: str) -> None:
        """A request."""
        self.request(name, ExtensionParams(enabled=True), fate)

    def take(self, block: Any) -> None:
        """Each user once, under what happened last."""
        told = [(user_id, kind) for kind, users in block.get("device_lists", {}).items() for user_id in users]
        self.test.assertEqual(len(told), len(dict(told)))
        for user_id, kind in told:
            if self.unheard.get(user_id) == kind:
                del self.unheard[user_id]

    def nothing_is_lost(self) -> None:
        """What the device has not heard of is stored."""
        there = {user_id: kind for _, user_id, kind in self.reader.lists}
        self.test.assertLessEqual(self.unheard.items(), there.items())


class DeviceListWalkTests(SynchronousTestCase):
    """Polls, lost answers, retries, two connections, restarts and outages."""

    @given(steps)
    def test_at_least_once(self, steps: list[tuple[Any, ...]]) -> None:
        """The newest change of each user is told, and forgotten only after that; in the end none is left."""
        walk = DeviceListWalk(self)
        for name, *arguments in steps:
            getattr(walk, name)(*arguments)
        walk.back()
        walk.anew("a")
        for _ in range(2):
            walk.sync("a", KEPT)
        self.assertEqual((walk.unheard, walk.reader.lists), ({}, []))
