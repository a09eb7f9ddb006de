"""A device's messages through whole connections: whatever happens in whatever order, none is lost."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.protocol.request import ExtensionParams
from tests.extensions.walks import KEPT, LOST, POS_ONLY, Walk, connections, misfortunes

fates = st.sampled_from((LOST, POS_ONLY, KEPT))
steps = st.lists(
    st.one_of(
        misfortunes,
        st.tuples(st.just("poll"), st.integers(1, 5)),
        st.tuples(st.just("sync"), connections, st.booleans(), st.sampled_from((None, 1, 3)), fates),
        st.tuples(st.just("repeat"), connections, fates),
    ),
    max_size=30,
)


class ToDeviceWalk(Walk):
    """The device keeps what it was sent, and the last token that came with it."""

    name = "to_device"

    def __init__(self, test: SynchronousTestCase) -> None:
        super().__init__(test)
        self.received: list[int] = []
        self.since: str | None = None

    def poll(self, number: int) -> None:
        """Messages come, if they can be stored."""
        if not self.writer.away:
            numbers = range(self.newest, self.newest + number)
            self.reader.messages += [(nid + 1, b'{"n":%d}' % nid) for nid in numbers]
            self.newest += number
            self.tell()

    def sync(self, name: str, says_since: bool, limit: int | None, fate: str) -> None:
        """A request, with the newest token or not."""
        since = self.since if says_since else None
        self.request(name, ExtensionParams(enabled=True, since=since, limit=limit), fate)

    def take(self, block: Any) -> None:
        """In order, and none left out."""
        numbers = [event["n"] for event in block["events"]]
        self.test.assertEqual(numbers, sorted(set(numbers)))
        self.received += [number for number in numbers if number >= len(self.received)]
        self.test.assertEqual(self.received, list(range(len(self.received))))
        self.since = block["next_batch"]

    def nothing_is_lost(self) -> None:
        """What is deleted was received."""
        there = {nid - 1 for nid, _ in self.reader.messages}
        self.test.assertLessEqual(set(range(self.newest)) - there, set(self.received))


class ToDeviceWalkTests(SynchronousTestCase):
    """Polls, lost answers, retries, two connections, restarts and outages."""

    @given(steps)
    def test_at_least_once_and_in_order(self, steps: list[tuple[Any, ...]]) -> None:
        """Each message is delivered, after those before it, and deleted only after that; in the end none is left."""
        walk = ToDeviceWalk(self)
        for name, *arguments in steps:
            getattr(walk, name)(*arguments)
        walk.back()
        for _ in range(2 + walk.newest):
            walk.anew("a")
            walk.sync("a", True, None, KEPT)
        self.assertEqual((len(walk.received), walk.reader.messages), (walk.newest, []))
