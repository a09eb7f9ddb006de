"""`set_presence` of polls: using the API, the most present connection, and what is remembered of them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.v2.presence import Presences
from tests.v2.fakes import BOBS, PHONE


class PresenceTests(SynchronousTestCase):
    """A phone whose clients come and go."""

    def setUp(self) -> None:
        self.presences = Presences()

    def test_nobody(self) -> None:
        """A device that does not use the API is offline."""
        self.assertEqual(self.presences.of(PHONE, 0.0), "offline")

    def test_held(self) -> None:
        """A request that is held makes its device present however long, and no other."""
        self.presences.begun(PHONE, "a", "online")
        self.assertEqual(self.presences.of(PHONE, 5000.0), "online")
        self.assertEqual(self.presences.of(BOBS, 0.0), "offline")

    def test_half_a_minute(self) -> None:
        """After its last request a device stays present for 30 s."""
        self.presences.begun(PHONE, "a", "unavailable")
        self.presences.ended(PHONE, "a", 100.0)
        self.assertEqual(self.presences.of(PHONE, 130.0), "unavailable")
        self.assertEqual(self.presences.of(PHONE, 130.1), "offline")
        self.assertEqual(len(self.presences), 0)

    def test_most_present(self) -> None:
        """Of several connections the most present wins, until it is over."""
        for conn_id, presence in (("a", "offline"), ("b", "unavailable"), ("c", "online")):
            self.presences.begun(PHONE, conn_id, presence)  # type: ignore[arg-type] # they are presences
        self.assertEqual(self.presences.of(PHONE, 0.0), "online")
        self.presences.ended(PHONE, "c", 10.0)
        self.assertEqual(self.presences.of(PHONE, 40.1), "unavailable")
        self.presences.ended(PHONE, "b", 50.0)
        self.assertEqual(self.presences.of(PHONE, 80.1), "offline")

    def test_newest_request(self) -> None:
        """On one connection the newest request says it, though an earlier one is still held."""
        self.presences.begun(PHONE, "a", "online")
        self.presences.begun(PHONE, "a", "offline")
        self.assertEqual(self.presences.of(PHONE, 0.0), "offline")
        self.presences.ended(PHONE, "a", 1.0)
        self.presences.ended(PHONE, "a", 2.0)
        self.assertEqual(len(self.presences), 0)

    def test_bounded(self) -> None:
        """Of a device that opens connection after connection the last twenty count."""
        self.presences.begun(PHONE, "held", "unavailable")
        for number in range(100):
            presence = "online" if number == 80 else "unavailable"
            self.presences.begun(PHONE, str(number), presence)  # type: ignore[arg-type] # it is a presence
            self.presences.ended(PHONE, str(number), number / 1000)
        self.assertEqual(self.presences.of(PHONE, 1.0), "unavailable")
