"""Which state a client asked for (spec/msc3575.md, "`required_state`")."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, product

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.protocol.request import StatePair
from syncproxy.protocol.required_state import RequiredState, required_state

ME = "@me:hs"
YOU = "@you:hs"
MEMBER = "m.room.member"
TYPES = (MEMBER, "a", "b", "")
#: "z" and "$LAZY" stand for keys that nobody asked for, and that somebody asked for by mistake
KEYS = ("", "k", ME, YOU, "z", "$LAZY")
ASKED = tuple(product(("*", MEMBER, "a", ""), ("*", "", "k", "$ME", "$LAZY", YOU)))

Pairs = tuple[StatePair, ...]

pairs = st.lists(st.sampled_from(ASKED), max_size=6).map(tuple)


def asked(*pairs: StatePair) -> RequiredState:
    """What the pairs ask for on behalf of `ME`."""
    return required_state(pairs, ME)


def is_asked(config: Sequence[StatePair], kind: str, key: str) -> bool:
    """The specification, read aloud: pairs are ORed, and a type with pairs of its own is narrowed to those."""
    named = [pair for pair in config if pair[0] == kind]
    ored = named + [pair for pair in config if pair[0] == "*" and (pair[1] != "*" or not named)]
    for asked_kind, asked_key in ored:
        if (asked_kind, asked_key) == (MEMBER, "$LAZY"):
            continue
        if asked_key in ("*", key) or (asked_key, key) == ("$ME", ME):
            return True
    return False


def all_of(wanted: RequiredState) -> set[StatePair]:
    """Everything in a small world that is asked for."""
    return {pair for pair in product(TYPES, KEYS) if wanted.matches(*pair)}


def small_configs() -> Iterator[tuple[StatePair, ...]]:
    """Every config of up to three pairs."""
    for size in range(4):
        yield from combinations(ASKED, size)


class MatchingTests(SynchronousTestCase):
    """What one config asks for."""

    def test_every_small_config(self) -> None:
        """Whatever three pairs are asked for, what matches is what the specification says."""
        for config in small_configs():
            naive = {pair for pair in product(TYPES, KEYS) if is_asked(config, *pair)}
            self.assertEqual(all_of(asked(*config)), naive, config)

    def test_a_type_and_key(self) -> None:
        """Both must be as asked."""
        self.assertTrue(asked(("a", "k")).matches("a", "k"))
        self.assertFalse(asked(("a", "k")).matches("a", ""))
        self.assertFalse(asked(("a", "k")).matches("b", "k"))

    def test_empty_is_literal(self) -> None:
        """An empty key or type matches an empty one only."""
        self.assertEqual(all_of(asked(("a", ""))), {("a", "")})
        self.assertEqual(all_of(asked(("", "k"))), {("", "k")})

    def test_any_key_and_any_type(self) -> None:
        """A `*` in either place matches all there."""
        self.assertEqual(all_of(asked(("a", "*"))), set(product("a", KEYS)))
        self.assertEqual(all_of(asked(("*", "k"))), set(product(TYPES, ["k"])))

    def test_me(self) -> None:
        """`$ME` as key is the user, with a type and with any type."""
        self.assertEqual(all_of(asked((MEMBER, "$ME"))), {(MEMBER, ME)})
        self.assertEqual(all_of(asked(("*", "$ME"))), set(product(TYPES, [ME])))
        self.assertFalse(asked((MEMBER, "$ME")).matches(MEMBER, "$ME"))

    def test_everything(self) -> None:
        """`["*","*"]` asks for all state."""
        self.assertEqual(all_of(asked(("*", "*"))), set(product(TYPES, KEYS)))

    def test_everything_but_narrowed(self) -> None:
        """A type that has keys of its own beside `["*","*"]` is narrowed to those."""
        wanted = asked(("*", "*"), ("a", "k"))
        self.assertEqual([key for key in KEYS if wanted.matches("a", key)], ["k"])
        self.assertTrue(wanted.matches("b", ""))

    def test_everything_but_members(self) -> None:
        """`["*","*"]` with lazy members: all but members."""
        wanted = asked(("*", "*"), (MEMBER, "$LAZY"))
        self.assertEqual({kind for kind, _ in all_of(wanted)}, {"a", "b", ""})
        self.assertTrue(wanted.lazy)

    def test_what_element_web_asks_for(self) -> None:
        """All but members, the user's own member, and others lazily."""
        wanted = asked(("*", "*"), (MEMBER, "$ME"), (MEMBER, "$LAZY"))
        self.assertEqual([pair for pair in all_of(wanted) if pair[0] == MEMBER], [(MEMBER, ME)])
        self.assertTrue(wanted.lazy)

    def test_nothing(self) -> None:
        """A config without pairs asks for nothing, and is false."""
        self.assertFalse(asked())
        self.assertEqual(all_of(asked()), set())
        self.assertTrue(asked((MEMBER, "$LAZY")))


class MembersTests(SynchronousTestCase):
    """What is known of the members that are asked for."""

    def test_lazy(self) -> None:
        """Members are lazy if `["m.room.member","$LAZY"]` stands in the config, and only then."""
        for config in small_configs():
            self.assertEqual(asked(*config).lazy, (MEMBER, "$LAZY") in config)

    def test_all_members(self) -> None:
        """Every member is asked for if one that nobody named is."""
        for config in small_configs():
            self.assertEqual(asked(*config).all_members, is_asked(config, MEMBER, "@stranger:hs"), config)

    def test_named_members(self) -> None:
        """Named members, and all of them where not every member is asked for, match."""
        for config in small_configs():
            wanted = asked(*config)
            if not wanted.all_members:
                found = {key for key in KEYS if wanted.matches(MEMBER, key)}
                self.assertEqual(found, wanted.named_members & set(KEYS), config)

    def test_me_among_the_named(self) -> None:
        """`$ME` is named by its user id; `*` and `$LAZY` name nobody."""
        wanted = asked((MEMBER, "$ME"), (MEMBER, YOU), (MEMBER, "*"), (MEMBER, "$LAZY"))
        self.assertEqual(wanted.named_members, {ME, YOU})


class UnionTests(SynchronousTestCase):
    """What several lists and subscriptions ask for."""

    @settings(deadline=None)
    @given(pairs, pairs)
    def test_either(self, one: Pairs, other: Pairs) -> None:
        """A union matches what either matches, and is lazy if either is."""
        both = asked(*one) | asked(*other)
        self.assertEqual(all_of(both), all_of(asked(*one)) | all_of(asked(*other)))
        self.assertEqual(both.lazy, asked(*one).lazy or asked(*other).lazy)
        self.assertEqual(both.all_members, asked(*one).all_members or asked(*other).all_members)

    @settings(deadline=None)
    @given(pairs, pairs, pairs)
    def test_is_a_union(self, one: Pairs, other: Pairs, third: Pairs) -> None:
        """Neither order, nor grouping, nor repetition matters."""
        a, b, c = asked(*one), asked(*other), asked(*third)
        self.assertEqual(a | b, b | a)
        self.assertEqual((a | b) | c, a | (b | c))
        self.assertEqual(a | a, a)

    def test_narrowing_stays_within_its_config(self) -> None:
        """What one list narrows, another may ask for in full."""
        both = asked(("*", "*"), (MEMBER, "$LAZY")) | asked(("*", "*"))
        self.assertTrue(both.all_members)

    def test_order_and_repetition_of_pairs(self) -> None:
        """Configs are equal if the same was asked for."""
        self.assertEqual(asked(("a", "k"), ("b", "")), asked(("b", ""), ("a", "k"), ("a", "k")))
        self.assertNotEqual(asked(("a", "k")), asked(("a", "")))
        self.assertNotEqual(asked((MEMBER, "$ME")), required_state([(MEMBER, "$ME")], YOU))


class WidensTests(SynchronousTestCase):
    """Whether something new is asked for."""

    def test_only_what_matches_more_widens(self) -> None:
        """No new match goes unnoticed, and what matches no more than before is nothing new."""
        configs = [(pair,) for pair in ASKED] + [*combinations(ASKED, 2)]
        known = [(asked(*config), all_of(asked(*config))) for config in configs]
        for (now, wanted), (before, had) in product(known[::2], known[::3]):
            is_more = not wanted <= had or (now.lazy and not before.lazy)
            self.assertEqual(now.widens(before), is_more, (now.configs, before.configs))

    @settings(deadline=None)
    @given(pairs, pairs, pairs)
    def test_unions_widen_as_one(self, one: Pairs, other: Pairs, third: Pairs) -> None:
        """A union widens if one of its parts does, and nothing widens a union that it is part of."""
        a, b, c = asked(*one), asked(*other), asked(*third)
        self.assertEqual((a | b).widens(c), a.widens(c) or b.widens(c))
        self.assertFalse(a.widens(a | b))

    @settings(deadline=None)
    @given(pairs, pairs, pairs)
    def test_what_a_union_matches_is_nothing_new(self, one: Pairs, other: Pairs, third: Pairs) -> None:
        """What several asked for together counts as asked for."""
        now, before = asked(*one), asked(*other) | asked(*third)
        is_more = not all_of(now) <= all_of(before) or (now.lazy and not before.lazy)
        self.assertEqual(now.widens(before), is_more)

    def test_less_does_not_widen(self) -> None:
        """A part of what was asked for is nothing new."""
        self.assertFalse(asked(("a", "k")).widens(asked(("a", "*"))))
        self.assertFalse(asked(("a", "k")).widens(asked(("*", "*"))))
        self.assertFalse(asked(("*", "*"), ("a", "k")).widens(asked(("*", "*"))))
        self.assertFalse(asked(("*", "*"), ("a", "k")).widens(asked(("*", "*"), ("a", "k"), ("a", ""))))
        self.assertFalse(asked().widens(asked()))

    def test_what_was_narrowed_widens(self) -> None:
        """Everything is more than everything but the keys of one type."""
        self.assertTrue(asked(("*", "*")).widens(asked(("*", "*"), ("a", "k"))))
        self.assertFalse(asked(("*", "*")).widens(asked(("*", "*"), ("a", "*"))))

    def test_lazy_members_widen(self) -> None:
        """Lazy members are something new where there were none."""
        self.assertTrue(asked((MEMBER, "$LAZY")).widens(asked((MEMBER, YOU))))
        self.assertFalse(asked((MEMBER, "$LAZY"), (MEMBER, YOU)).widens(asked((MEMBER, YOU), (MEMBER, "$LAZY"))))
