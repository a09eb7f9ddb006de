"""From the writer to the dispatcher."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.pubsub.bus import Bus
from syncproxy.pubsub.payloads import Payload


class BusTests(SynchronousTestCase):
    """Every receiver gets every payload, in order."""

    def test_all_receivers_hear_in_order(self) -> None:
        """A payload reaches all receivers before `publish` returns, the next one after it."""
        bus, heard = Bus(), []
        bus.subscribe(lambda payload: heard.append((1, payload)))
        bus.subscribe(lambda payload: heard.append((2, payload)))
        first, second = Payload(()), Payload(())
        bus.publish(first)
        bus.publish(second)
        self.assertEqual(
            [(who, payload is first) for who, payload in heard], [(1, True), (2, True), (1, False), (2, False)]
        )

    def test_nobody_listens(self) -> None:
        """A payload without receivers is no error."""
        Bus().publish(Payload(()))
