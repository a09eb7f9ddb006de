"""Which state a client has: what is looked up at once is what a look at all of it finds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.connection.coverage import Coverage, known_since, served
from syncproxy.protocol.required_state import RequiredState, required_state

PAIRS = [("m.room.name", ""), ("m.room.topic", ""), ("m.room.member", "$ME"), ("*", "*")]
CONFIGS = st.lists(st.sampled_from(PAIRS), max_size=3).map(lambda pairs: required_state(pairs, "@a:x"))
#: what was asked for, and how far on
STEPS = st.lists(st.tuples(CONFIGS, st.integers(0, 3)), max_size=6)


def whole_look(coverage: Coverage, wanted: RequiredState) -> int | None:
    """The newest nid of a config that has everything wanted."""
    return max((up_to for state, up_to in coverage if not wanted.widens(state)), default=None)


class CoverageTests(SynchronousTestCase):
    """Configs that take turns."""

    @given(STEPS, CONFIGS)
    def test_known_since(self, steps: list[tuple[RequiredState, int]], wanted: RequiredState) -> None:
        """Whatever was asked for before, it is known up to where a config that covers it was served last."""
        coverage: Coverage = ()
        up_to = 0
        for state, further in steps:
            up_to += further
            coverage = served(coverage, state, up_to)
            self.assertEqual((state, up_to), coverage[0])
            self.assertEqual([], [one for one, _ in coverage[1:] if not one.widens(state)])
        self.assertEqual(whole_look(coverage, wanted), known_since(coverage, wanted))
