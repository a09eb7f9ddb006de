"""Which events of a timeline are new."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.rooms.answers import Timeline
from syncproxy.rooms.timelines import Appended, KnownEvent, appended, hidden_by_gap, newest_join
from tests.rooms.events import event, member


def ids(result: Appended) -> str:
    """The new events' ids, run together."""
    return "".join(new.event_id for new in result.events)


def given_timeline(
    pattern: str, *, limited: bool = False, has_since: bool = True, newest: int = 1, gap: int = 0, position: int = 10
) -> Appended:
    """`pattern` has a letter an event: K known, G known with a gap before it, S known from state only, U unknown,
    u unknown state.
    """
    events, known = [], {}
    for number, letter in enumerate(pattern):
        event_id = str(number)
        state = {"state_key": ""} if letter == "u" else {}
        events.append(event(event_id, **state))
        if letter in "KGS":
            known[event_id] = KnownEvent(number + 1, letter != "S", letter == "G")
    return appended(
        Timeline(tuple(events), limited),
        known,
        has_since=has_since,
        newest_nid=newest,
        gap_nid=gap,
        position=position,
    )


class AppendedTests(SynchronousTestCase):
    """What is appended, and whether behind a gap."""

    def test_what_follows_the_last_known_event_is_new(self) -> None:
        """[K, U, U] appends the last two without a gap."""
        self.assertEqual(given_timeline("KUU").events[0].event_id, "1")
        self.assertEqual((ids(given_timeline("KUU")), given_timeline("KUU").gap_before), ("12", False))

    def test_back_filled_history_is_not_news(self) -> None:
        """A limited [U, K, K] keeps nothing."""
        self.assertEqual(ids(given_timeline("UKK", limited=True)), "")

    def test_a_first_sync_fills_no_holes(self) -> None:
        """Without `since` [U, K] keeps nothing."""
        self.assertEqual(ids(given_timeline("UK", has_since=False)), "")

    def test_what_an_ignore_list_had_hidden_is_new(self) -> None:
        """In a live answer an unknown event before a known one is new, unless it is state."""
        self.assertEqual(ids(given_timeline("UKuK")), "0")

    def test_nothing_is_put_in_before_a_gap(self) -> None:
        """What stands before an event with a gap before it is history."""
        self.assertEqual(ids(given_timeline("UGU")), "2")

    def test_known_from_state_only_is_not_known(self) -> None:
        """A state-only event in a timeline is new there."""
        self.assertEqual(ids(given_timeline("KS")), "1")

    def test_duplicates_are_dropped(self) -> None:
        """An event that stands twice is appended once."""
        twice = Timeline((event("a"), event("a")))
        result = appended(twice, {}, has_since=True, newest_nid=0, gap_nid=0, position=0)
        self.assertEqual(ids(result), "a")

    def test_first_timeline_of_a_room(self) -> None:
        """A room without a timeline takes any; a limited one begins behind a gap."""
        self.assertEqual(given_timeline("U", newest=0, limited=True).gap_before, True)
        self.assertEqual(given_timeline("U", newest=0, position=0).gap_before, False)

    def test_unknown_live_events_are_appended(self) -> None:
        """[U] of a live answer that is not limited follows what is stored."""
        self.assertEqual(given_timeline("U", newest=20).gap_before, False)
        self.assertEqual(ids(given_timeline("U", newest=20)), "0")

    def test_a_gap_marked_meanwhile_makes_them_doubtful(self) -> None:
        """If a gap was marked since the request, a timeline that connects to nothing is dropped."""
        self.assertEqual(ids(given_timeline("U", newest=20, gap=15)), "")

    def test_limited_and_unknown_is_a_gap(self) -> None:
        """A limited timeline that connects to nothing goes behind a gap, if all that is stored is older."""
        result = given_timeline("UU", limited=True, newest=5)
        self.assertEqual((ids(result), result.gap_before), ("01", True))

    def test_what_came_later_by_another_poller_stays(self) -> None:
        """A limited timeline that connects to nothing is dropped if the room moved on since the request."""
        self.assertEqual(ids(given_timeline("UU", limited=True, newest=11)), "")

    def test_every_short_pattern(self) -> None:
        """Nothing known is ever appended, and order is kept."""
        for letters in product("KGSUu", repeat=4):
            for limited, has_since in product((False, True), repeat=2):
                result = ids(given_timeline("".join(letters), limited=limited, has_since=has_since))
                self.assertEqual(result, "".join(sorted(result)))
                self.assertFalse([letters[int(number)] for number in result if letters[int(number)] in "KG"])

    @given(st.text("KU", min_size=1, max_size=12), st.booleans(), st.booleans())
    def test_what_follows_the_last_known_is_always_appended(self, pattern: str, limited: bool, has_since: bool) -> None:
        """Whatever comes before, events behind the last known one are never lost."""
        if "K" not in pattern:
            return
        result = ids(given_timeline(pattern, limited=limited, has_since=has_since))
        tail = "".join(str(number) for number in range(pattern.rindex("K") + 1, len(pattern)))
        self.assertTrue(result.endswith(tail))


def hidden(pattern: str) -> tuple[int, str]:
    """The gap and the state that it hides: of the key of each letter, in lower case if it is unknown.

    M is a known message, G one behind a gap; of known events the nid is the place.
    """
    events, known = [], {}
    for number, letter in enumerate(pattern):
        state = {} if letter in "MG" else {"state_key": letter.lower()}
        events.append(event(f"{letter}{number}", **state))
        if letter.isupper():
            known[events[-1].event_id] = KnownEvent(number, True, letter == "G")
    gap_nid, found = hidden_by_gap(Timeline(tuple(events)), known)
    return gap_nid, "".join(one.event_id for one in found)


class HiddenTests(SynchronousTestCase):
    """State that a gap hides, and a timeline that reaches back over the gap tells."""

    def test_what_stands_before_the_gap(self) -> None:
        """Unknown state from before the newest gap; what is behind it is in its place, or history."""
        self.assertEqual(hidden("MaGbMc"), (2, "a1"))
        self.assertEqual(hidden("aGbGM"), (3, "a0b2"))

    def test_only_the_newest_of_a_key(self) -> None:
        """Neither what is replaced within the gap, nor what is replaced behind it, by whatever is known or not."""
        self.assertEqual(hidden("aaG"), (2, "a1"))
        self.assertEqual(hidden("aGA"), (1, ""))
        self.assertEqual(hidden("aGa"), (1, ""))
        self.assertEqual(hidden("aAG"), (2, ""))

    def test_without_a_gap(self) -> None:
        """It is history."""
        self.assertEqual(hidden("aMM"), (0, ""))


class NewestJoinTests(SynchronousTestCase):
    """The newest join of a user that an answer has."""

    def test_among_others(self) -> None:
        """Leaves, other users' joins and what was not stored are not looked at."""
        events = [member("1", "@u", "join"), member("2", "@u", "leave"), member("3", "@v", "join")]
        known = {one.event_id: KnownEvent(int(one.event_id), in_timeline=True) for one in events}
        found = newest_join([*events, member("4", "@u", "join")], known, "@u")
        self.assertEqual(found, known["1"])

    def test_none(self) -> None:
        """There may be none."""
        self.assertIsNone(newest_join([event("1")], {}, "@u"))
