"""Whatever happens, and however late and out of order the proxy hears of it: nobody is shown what is not theirs."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tests.visibility.history import History, Step, random_steps
from tests.visibility.homeserver import ALICE, BOB, CAROL

#: histories of each kind; each has up to 60 steps, and each step that tells anything is looked at by six clients
_HISTORIES = 40


class RandomHistoryTests(SynchronousTestCase):
    """Histories of three users in two rooms, against what really happened."""

    def test_state_before_the_timeline(self) -> None:
        """Nothing leaks, and in the end nothing is lost, where state comes as it was before the timeline."""
        self.walk_all(state_after=False)

    def test_state_after_the_timeline(self) -> None:
        """Nor where state comes as it is after the timeline (MSC4222)."""
        self.walk_all(state_after=True)

    def walk_all(self, *, state_after: bool) -> None:
        repeats = recalls = 0
        for seed in range(_HISTORIES):
            steps = random_steps(Random(seed))
            history = History(state_after=state_after)
            self.assertEqual(wrong_in(history, steps), [], f"seed {seed}: {steps}")
            repeats += history.proxy.repeats
            recalls += history.proxy.database.recalls
        # answers that are told and not stored were among them, and batches that went by what is remembered
        self.assertGreater(repeats, _HISTORIES)
        self.assertGreater(recalls, _HISTORIES)


class FoundTests(SynchronousTestCase):
    """Histories that once leaked or lost something, as short as they can be."""

    def check(self, *steps: Step) -> None:
        for state_after in (False, True):
            self.assertEqual(wrong(steps, state_after=state_after), [])

    def test_who_comes_by_an_answer_that_is_dropped(self) -> None:
        """A name that gave way to another before the join is not shown, though the join has no place yet."""
        rename, join = ("rename", BOB, "!2"), ("join", ALICE, "!2")
        poll = ("poll", BOB, "")
        self.check(poll, ("poll", ALICE, ""), ("ask", ALICE, ""), ("say", CAROL, "!2"), poll, rename, join)

    def test_who_comes_before_an_answer_that_is_dropped(self) -> None:
        """Nor is it where the join is in the state before the answer's timeline, and that renames the room again."""
        rename, poll, ask = ("rename", ALICE, "!1"), ("poll", ALICE, ""), ("ask", CAROL, "")
        join = ("join", CAROL, "!1"), ("rename", CAROL, "!1")
        self.check(poll, rename, ask, poll, rename, *join, ("answer", CAROL, ""), ("deliver", CAROL, ""))

    def test_who_was_put_out_before_the_first_poll(self) -> None:
        """A join that an older answer of others tells is not given to whose own first poll was made after a ban."""
        out = ("talk", BOB, "!2"), ("kick", BOB, "!2"), ("poll", CAROL, "")
        asked = ("join", ALICE, "!2"), ("ask", CAROL, ""), ("answer", CAROL, "")
        self.check(*out, *asked, ("ban", ALICE, "!2"), ("reply", CAROL, "!2"), ("rename", CAROL, "!2"))

    def test_receipts_of_an_answer_that_is_dropped(self) -> None:
        """Somebody who was put out within a timeline that is dropped is not told of the receipts that came with it."""
        known = ("poll", BOB, ""), ("poll", CAROL, ""), ("ask", BOB, ""), ("join", CAROL, "!1"), ("poll", ALICE, "")
        self.check(*known, ("ban", CAROL, "!1"), ("read", CAROL, "!1"), ("talk", CAROL, "!1"), ("poll", BOB, ""))

    def test_back_behind_a_gap(self) -> None:
        """What was said while somebody was out is not shown when the timeline with the return reaches back to it."""
        kick, talk = ("kick", BOB, "!2"), ("talk", CAROL, "!2")
        self.check(("poll", BOB, ""), kick, talk, ("join", BOB, "!2"), ("poll", BOB, ""))

    def test_a_leave_that_is_learnt_behind_a_gap(self) -> None:
        """Events that another one's gappy answer brought are not sent along with an own leave from within the gap."""
        say = ("say", ALICE, "!1")
        self.check(("poll", BOB, ""), ("leave", BOB, "!1"), say, ("poll", ALICE, ""), ("poll", BOB, ""))

    def test_a_leave_from_within_a_gap_is_not_appended(self) -> None:
        """To somebody who joined behind the gap, a leave from before the join is not shown as the newest event."""
        self.check(("poll", BOB, ""), ("kick", BOB, "!1"), ("join", CAROL, "!1"))

    def test_the_own_leave_of_who_was_not_in_says_nothing_of_others(self) -> None:
        """A rejected invite goes no further than its user: others may have left before it."""
        invited = (("invite", CAROL, "!1"), ("poll", BOB, ""), ("poll", CAROL, ""))
        self.check(*invited, ("leave", BOB, "!1"), ("ban", CAROL, "!1"), ("poll", CAROL, ""))

    def test_a_join_whose_events_are_yet_to_come(self) -> None:
        """Who joins while the first poll is under way sees nothing from before the join, not even its time."""
        self.check(("ask", CAROL, ""), ("poll", BOB, ""), ("join", CAROL, "!1"), ("poll", CAROL, ""))

    def test_a_join_that_a_later_timeline_brings(self) -> None:
        """What stands before the join in the timeline that finally brings it is not shown."""
        self.check(("ask", ALICE, ""), ("poll", BOB, ""), ("talk", BOB, "!2"), ("join", ALICE, "!2"))

    def test_a_ban_that_a_lazy_block_does_not_state(self) -> None:
        """A ban takes access away at once, also where the state after the timeline leaves out who does not speak."""
        polls = (("poll", ALICE, ""), ("poll", BOB, ""))
        self.check(*polls, ("ban", BOB, "!2"), ("join", ALICE, "!2"), ("poll", ALICE, ""))

    def test_state_without_its_timeline(self) -> None:
        """A name that a late first answer brings, without what happened before it, is not shown to who may be out."""
        known = (("poll", BOB, ""), ("say", ALICE, "!2"), ("ask", CAROL, ""), ("poll", BOB, ""))
        happened = (("leave", BOB, "!2"), ("rename", ALICE, "!2"), ("say", BOB, "!2"))
        self.check(*known, *happened, ("poll", CAROL, ""))

    def test_the_time_of_what_is_yet_to_come(self) -> None:
        """A room of which nothing is visible yet has the time of the join."""
        self.check(("ask", BOB, ""), ("answer", BOB, ""), ("kick", BOB, "!1"))

    def test_a_gap_outlives_the_process(self) -> None:
        """Behind a gap that came before a restart nothing is shown after it, until a poll has finished."""
        polls = (("poll", BOB, ""), ("poll", ALICE, ""))
        kicked = (("kick", BOB, "!1"), ("talk", ALICE, "!1"), ("poll", ALICE, ""))
        self.check(*polls, *kicked, ("restart", "", ""))

    def test_a_name_from_behind_a_gap_outlives_the_process(self) -> None:
        """Nor is a name that came with it."""
        polls = (("poll", BOB, ""), ("say", ALICE, "!1"), ("poll", ALICE, ""), ("poll", BOB, ""))
        kicked = (("kick", BOB, "!1"), ("talk", ALICE, "!1"), ("rename", ALICE, "!1"), ("poll", ALICE, ""))
        self.check(*polls, *kicked, ("restart", "", ""))

    def test_a_late_first_answer_does_not_bring_back(self) -> None:
        """Who was kicked while the first answer was on its way is not in the room by that answer."""
        asked = (("ask", BOB, ""), ("answer", BOB, ""))
        self.check(*asked, ("kick", BOB, "!1"), ("poll", ALICE, ""), ("deliver", BOB, ""))

    def test_a_join_behind_a_gap_that_hides_a_name(self) -> None:
        """Who joins behind a gap is not shown the name from before it, which by then was another one."""
        polls = (("ask", ALICE, ""), ("poll", BOB, ""))
        renamed = (("rename", BOB, "!1"), ("poll", CAROL, ""), ("poll", ALICE, ""))
        self.check(*polls, *renamed, ("join", CAROL, "!1"))

    def test_what_was_under_way_when_somebody_joined(self) -> None:
        """Others' events from before a join are not shown, though they come after the state that tells of it."""
        said = (("ask", ALICE, ""), ("poll", BOB, ""), ("say", BOB, "!2"), ("ask", BOB, ""), ("answer", BOB, ""))
        self.check(*said, ("join", ALICE, "!2"), ("poll", ALICE, ""), ("deliver", BOB, ""))

    def test_a_leave_that_was_under_way_when_somebody_joined(self) -> None:
        """Nor is another's leave."""
        self.check(("ask", ALICE, ""), ("poll", BOB, ""), ("leave", BOB, "!2"), ("join", ALICE, "!2"))

    def test_a_join_within_what_another_was_told_of_a_left_room(self) -> None:
        """Who joined before another left may have left since: what is told then, as who types, is not shown."""
        asked = (("ask", ALICE, ""), ("poll", BOB, ""), ("poll", CAROL, ""))
        self.check(*asked, ("join", CAROL, "!1"), ("ban", BOB, "!1"), ("leave", CAROL, "!1"), ("type", BOB, "!1"))

    def test_an_invite_of_who_was_in(self) -> None:
        """Who is invited has left before, though nothing tells of the leave."""
        asked = (("poll", BOB, ""), ("rename", BOB, "!1"), ("poll", ALICE, ""), ("ask", ALICE, ""))
        self.check(*asked, ("say", ALICE, "!1"), ("poll", BOB, ""), ("leave", BOB, "!1"), ("invite", BOB, "!1"))

    def test_a_return_that_a_dropped_timeline_tells(self) -> None:
        """It is another stay, of which others' answers then bring what was before it."""
        known = (("invite", CAROL, "!1"), ("poll", BOB, ""), ("kick", CAROL, "!1"))
        asked = (("ask", BOB, ""), ("poll", ALICE, ""))
        self.check(*known, *asked, ("kick", BOB, "!1"), ("say", ALICE, "!1"), ("join", BOB, "!1"), ("poll", BOB, ""))

    def test_a_kick_after_a_late_first_answer_was_made(self) -> None:
        """What another's first answer tells of a room is not told to whom an older answer has in it, until the next."""
        asked = (("join", ALICE, "!2"), ("ask", ALICE, ""), ("answer", ALICE, ""), ("kick", ALICE, "!2"))
        self.check(*asked, ("talk", BOB, "!2"), ("poll", BOB, ""))

    def test_a_name_after_a_kick_that_no_answer_has_told_yet(self) -> None:
        """Where nothing shows that somebody was in behind a gap, nothing from behind it is shown."""
        asked = (("ask", ALICE, ""), ("poll", CAROL, ""), ("join", ALICE, "!2"), ("answer", ALICE, ""))
        self.check(*asked, ("kick", ALICE, "!2"), ("kick", BOB, "!1"), ("rename", ALICE, "!2"))

    def test_a_stay_within_anothers_answer(self) -> None:
        """Who came and left within what one answer tells keeps nothing of the room from before."""
        renamed = (("poll", ALICE, ""), ("rename", ALICE, "!1"), ("poll", CAROL, ""))
        self.check(*renamed, ("join", CAROL, "!1"), ("leave", CAROL, "!1"))
        known = (("poll", CAROL, ""), ("rename", CAROL, "!2"), ("join", ALICE, "!2"), ("leave", ALICE, "!2"))
        self.check(("leave", BOB, "!2"), *known)
        self.check(*known, ("poll", CAROL, ""))

    def test_a_stay_within_what_another_was_told_of_a_left_room(self) -> None:
        """Nor what the room was before a gap in which it was renamed."""
        renamed = (("poll", BOB, ""), ("rename", CAROL, "!2"))
        self.check(*renamed, ("join", ALICE, "!2"), ("leave", ALICE, "!2"), ("ban", BOB, "!2"))

    def test_a_name_that_a_late_first_answer_has_in_its_timeline(self) -> None:
        """It is not known which is newer, that or the one that came meanwhile: nobody who joins is shown the other."""
        asked, kick = (("ask", ALICE, ""), ("poll", BOB, "")), ("kick", BOB, "!1")
        renamed = (("poll", BOB, ""), ("rename", ALICE, "!1"), ("poll", ALICE, ""))
        self.check(*asked, kick, *renamed, ("join", CAROL, "!1"))
        self.check(*asked, kick, *renamed, ("poll", CAROL, ""), ("join", CAROL, "!1"))
        self.check(*asked, kick, ("rename", ALICE, "!1"), ("say", ALICE, "!1"), *renamed[::2], ("join", CAROL, "!1"))

    def test_a_profile_that_a_late_first_answer_has_in_its_timeline(self) -> None:
        """The same of a member's profile, until the answer comes that tells of the join."""
        kicked = (("poll", BOB, ""), ("kick", BOB, "!1"), ("profile", ALICE, "!1"), ("answer", ALICE, ""))
        self.check(("ask", ALICE, ""), *kicked, ("join", CAROL, "!1"), ("poll", BOB, ""))
        known = (("poll", CAROL, ""), *kicked, ("join", CAROL, "!1"), ("rename", BOB, "!1"))
        self.check(("ask", ALICE, ""), *known, ("poll", BOB, ""), ("poll", ALICE, ""), ("poll", CAROL, ""))

    def test_a_profile_from_after_a_ban(self) -> None:
        """What a late first answer brings of members, without its timeline, is not from before what is yet to come."""
        answers = (("poll", BOB, ""), ("poll", ALICE, ""))
        stays = (("join", CAROL, "!1"), ("poll", ALICE, ""), ("profile", BOB, "!1"), ("ask", BOB, ""))
        self.check(*stays, ("poll", CAROL, ""), ("ban", CAROL, "!1"), ("profile", ALICE, "!1"), *answers)
        asked = (("poll", ALICE, ""), ("profile", BOB, "!1"), ("ask", BOB, ""), ("poll", CAROL, ""))
        talked = (("poll", CAROL, ""), ("join", CAROL, "!1"), ("talk", ALICE, "!1"))
        self.check(*talked, *asked, ("ban", CAROL, "!1"), ("profile", ALICE, "!1"), *answers)

    def test_a_kick_that_was_hidden_by_anothers_gap(self) -> None:
        """Who learns of it last, after an answer from before it, is not shown what was said since."""
        asked = (("ask", CAROL, ""), ("ask", BOB, ""), ("answer", BOB, ""), ("profile", BOB, "!2"))
        told = (("deliver", CAROL, ""), ("talk", CAROL, "!2"), ("poll", CAROL, ""))
        self.check(*asked, ("answer", CAROL, ""), ("kick", BOB, "!2"), *told)

    def test_a_ban_in_the_timeline_of_a_first_answer(self) -> None:
        """A block that came lazily does not state who was banned: what was before the ban is not shown."""
        banned = (("kick", BOB, "!1"), ("join", CAROL, "!1"), ("ban", BOB, "!1"))
        self.check(("poll", BOB, ""), *banned, ("poll", CAROL, ""))

    def test_a_name_that_a_first_answer_contradicts(self) -> None:
        """Who joined is not shown the name that another's answer brought while the first answer was on its way."""
        asked = (("poll", BOB, ""), ("rename", CAROL, "!2"), ("ask", BOB, ""), ("answer", BOB, ""))
        renamed = (("rename", ALICE, "!2"), ("ask", ALICE, ""), ("deliver", BOB, ""))
        self.check(*asked, *renamed, ("join", ALICE, "!2"))

    def test_a_ban_that_follows_a_kick(self) -> None:
        """What happened in between is not told to who was out: others may have left before the ban."""
        self.check(
            *(("join", ALICE, "!2"), ("poll", BOB, ""), ("poll", ALICE, "")),
            *(("kick", ALICE, "!2"), ("leave", BOB, "!2"), ("ban", ALICE, "!2")),
        )

    def test_a_name_from_before_a_gap_that_a_late_join_stands_behind(self) -> None:
        """Who may see nothing past a gap is not shown the room as it was before the gap, having come later."""
        talked = (("poll", CAROL, ""), ("talk", ALICE, "!2"), ("ask", ALICE, ""))
        self.check(*talked, ("rename", ALICE, "!2"), ("poll", CAROL, ""), ("join", ALICE, "!2"))

    def test_a_first_answer_from_before_a_stay_that_another_tells_of(self) -> None:
        """Who left and came back while it was on its way is not shown what it has: that was before the new stay."""
        answered = (("ask", BOB, ""), ("poll", ALICE, ""), ("answer", BOB, ""))
        self.check(*answered, ("leave", BOB, "!1"), ("join", BOB, "!1"))

    def test_a_first_answer_from_before_an_invite_that_another_tells_of(self) -> None:
        """Who left and was invited while it was on its way is in no more, and sees nothing of what came since."""
        answered = (("ask", BOB, ""), ("answer", BOB, ""), ("poll", ALICE, ""))
        self.check(*answered, ("leave", BOB, "!1"), ("invite", BOB, "!1"))

    def test_a_reply_that_a_dropped_timeline_had(self) -> None:
        """After a restart, too, what its poller brings next does not follow what is stored."""
        asked = (("talk", BOB, "!1"), ("ask", ALICE, ""), ("poll", BOB, ""), ("reply", BOB, "!1"))
        self.check(*asked, ("poll", ALICE, ""), ("restart", "", ""), ("reply", ALICE, "!1"))
        asked = (("ask", CAROL, ""), ("poll", BOB, ""), ("talk", ALICE, "!2"), ("leave", BOB, "!2"))
        self.check(*asked, ("reply", CAROL, "!2"), ("poll", CAROL, ""), ("restart", "", ""))

    def test_a_name_from_before_a_gap_that_a_first_answer_does_not_have(self) -> None:
        """Who came when the name was not sure is not shown what it was before another gap."""
        renamed = (("ask", ALICE, ""), ("poll", BOB, ""), ("rename", CAROL, "!1"))
        self.check(*renamed, ("join", CAROL, "!1"), ("ask", CAROL, ""), ("poll", ALICE, ""))


def wrong(steps: tuple[Step, ...], *, state_after: bool) -> list[str]:
    """What is shown and should not be, and what is missing in the end; nothing further than the first step of it."""
    return wrong_in(History(state_after=state_after), steps)


def wrong_in(history: History, steps: tuple[Step, ...]) -> list[str]:
    """The same of this history."""
    for step in steps:
        leaks = list(history.step(*step))
        if leaks:
            return leaks
    return list(history.finish())
