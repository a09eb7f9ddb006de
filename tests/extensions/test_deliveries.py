"""What is remembered of each device's to-device messages."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.extensions.deliveries import Deliveries
from syncproxy.matrix.devices import Device
from tests.extensions.fakes import ALICE, PHONE

LAPTOP = Device(ALICE, "LAPTOP")


class DeliveriesTests(SynchronousTestCase):
    """A device that was handed messages."""

    def setUp(self) -> None:
        self.deliveries = Deliveries()
        self.deliveries.of(PHONE).hand_out(9)

    def test_as_long_as_it_is_polled_for(self) -> None:
        """All its connections are told of the same."""
        self.assertIs(self.deliveries.of(PHONE), self.deliveries.of(PHONE))
        self.assertIsNot(self.deliveries.of(PHONE), self.deliveries.of(LAPTOP))

    def test_forgotten(self) -> None:
        """Nothing is kept of a device that is no longer polled for: what it was handed is read from the database."""
        self.deliveries.forget(PHONE)
        self.assertEqual((self.deliveries.of(PHONE).handed_out, self.deliveries.of(PHONE).noted), (0, None))

    def test_never_heard_of(self) -> None:
        """A device that never came is forgotten as well."""
        self.deliveries.forget(LAPTOP)
        self.assertEqual(self.deliveries.of(PHONE).handed_out, 9)
