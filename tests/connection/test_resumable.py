"""Positions that survive restarts, request by request (spec/msc4186.md, "Connections")."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.connection.positions import Fresh
from syncproxy.connection.resumable import Position, ResumablePositions, position_of
from syncproxy.errors import UnknownPos
from syncproxy.protocol.request import Request


def asked(pos: str | None) -> Request:
    return Request(pos=pos, timeout_ms=0)


class PositionsCase(SynchronousTestCase):
    """A connection that is asked and answered."""

    def setUp(self) -> None:
        self.positions = ResumablePositions("e.c")

    def answer(self, pos: str | None, *, changed: bool = True) -> str:
        """The next answer's `pos`."""
        request = asked(pos)
        self.positions.received(request)
        said = self.positions.next(changed=changed)
        self.positions.answered(request, b"", changed=changed)
        return said

    def acknowledges(self, pos: str) -> bool:
        verdict = self.positions.received(asked(pos))
        assert isinstance(verdict, Fresh)
        return verdict.acknowledges

    def assert_unknown(self, pos: str) -> None:
        self.assertRaises(UnknownPos, self.positions.received, asked(pos))


class OneProcessTests(PositionsCase):
    """While the proxy runs."""

    def test_the_newest_is_acknowledged(self) -> None:
        """A client that goes on has what it was sent."""
        self.assertTrue(self.acknowledges(self.answer(None)))

    def test_next(self) -> None:
        """Only the newest position of a connection that was answered goes on from the newest answer."""
        self.assertFalse(self.positions.is_next(asked("e.c.0.0")))
        first = self.answer(None)
        second = self.answer(first)
        told = [self.positions.is_next(asked(pos)) for pos in (first, second, None, "e.d.2.2")]
        self.assertEqual(told, [False, True, False, False])

    def test_a_lost_answer(self) -> None:
        """A client that names the position before asks for another answer from there."""
        first = self.answer(None)
        self.answer(first)
        self.assertFalse(self.acknowledges(first))

    def test_the_answer_in_whose_place_another_was_made(self) -> None:
        """Is not known any more."""
        first = self.answer(None)
        lost = self.answer(first)
        again = self.answer(first)
        self.assertNotEqual(lost, again)
        self.assert_unknown(lost)
        self.assertTrue(self.acknowledges(again))

    def test_older_ones(self) -> None:
        """Once the client has gone on, the position before the acknowledged one is unknown."""
        first = self.answer(None)
        second = self.answer(first)
        self.answer(second)
        self.assert_unknown(first)

    def test_idle_answers_keep_the_version(self) -> None:
        """Nothing changed, nothing need be stored; yet each has a position of its own."""
        first = self.answer(None)
        idle = self.answer(first, changed=False)
        self.assertEqual([pos.split(".")[2] for pos in (first, idle)], ["1", "1"])
        self.assertNotEqual(first, idle)
        self.assertFalse(self.acknowledges(first))
        self.assertTrue(self.acknowledges(idle))

    def test_strangers(self) -> None:
        """Another connection's, and what is none at all."""
        self.answer(None)
        for pos in (
            "e.d.1.1",
            "e.c.1.2",
            "e.c.2.1",
            "1.1",
            "",
            "e.c.\u0661.1",
            "e.c.-1.1",
            "e.c.1." + "9" * 40,
            "e.c.1.1.1",
        ):
            self.assert_unknown(pos)

    def test_nothing_was_answered(self) -> None:
        """No position is known of a connection that has not begun."""
        self.assert_unknown("e.c.0.0")


class RestartTests(PositionsCase):
    """After the proxy was started again."""

    def setUp(self) -> None:
        self.positions = ResumablePositions("e.c", Position(7, 0))

    def test_what_is_stored(self) -> None:
        """The first request goes on from there, whatever number it has, and later ones as ever."""
        after = self.answer("e.c.7.30")
        self.assertEqual(after, "e.c.8.31")
        self.assertTrue(self.acknowledges(after))

    def test_a_lost_answer(self) -> None:
        """The position that was read from what is stored may be named again."""
        self.answer("e.c.7.30")
        self.assertFalse(self.acknowledges("e.c.7.30"))

    def test_newer_than_what_is_stored(self) -> None:
        """It is answered from what is stored."""
        self.assertEqual(self.answer("e.c.9.30"), "e.c.8.31")


class SpellingTests(SynchronousTestCase):
    """`pos` as text."""

    @given(st.integers(0, 2**40), st.integers(0, 2**40))
    def test_round_trip(self, version: int, number: int) -> None:
        """What is written is read."""
        self.assertEqual(position_of(f"e.c.{version}.{number}", "e.c"), Position(version, number))

    @given(st.text())
    def test_anything_else(self, text: str) -> None:
        """Whatever a client sends is read or not, and never an error."""
        position_of(text, "e.c")
