"""What is remembered of each device's to-device messages."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.extensions.deliveries import Deliveries
from syncproxy.matrix.devices import Device
from tests.extensions.fakes import ALICE, PHONE

LAPTOP = Device(ALICE, "LAPTOP")


class DeliveriesTests(SynchronousTestCase):
    """A process that began at 5."""

    def setUp(self) -> None:
        self.deliveries = Deliveries(5)
        self.deliveries.hand_out(PHONE, 9)
        self.deliveries.acknowledge(PHONE, 8)

    def test_forgotten(self) -> None:
        """Nothing is kept of a device that is no longer polled for."""
        self.deliveries.forget(PHONE)
        self.assertEqual((self.deliveries._handed_out, self.deliveries._acknowledged), ({}, {}))
        self.assertEqual(self.deliveries.acknowledged(PHONE), 0)

    def test_back_again(self) -> None:
        """What the device was handed before counts as handed out when it comes back, for others too: that is safe."""
        self.deliveries.forget(PHONE)
        self.assertEqual([self.deliveries.handed_out(device) for device in (PHONE, LAPTOP)], [9, 9])

    def test_never_heard_of(self) -> None:
        """A device that never came is forgotten as well."""
        self.deliveries.forget(LAPTOP)
        self.assertEqual([self.deliveries.handed_out(device) for device in (PHONE, LAPTOP)], [9, 5])
