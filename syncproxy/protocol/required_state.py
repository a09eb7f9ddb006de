"""`required_state`: which state events a client asked for (spec/msc3575.md, "`required_state`")."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

import attrs

from syncproxy.matrix.sharing import shared_set
from syncproxy.protocol.request import StatePair

MEMBER = "m.room.member"
EVERYTHING = ("*", "*")
_ANY = "*"
_ME = "$ME"
_LAZY = "$LAZY"
#: stands for all users
_NOBODY = ""
_NONE: frozenset[str] = frozenset()
#: the pairs that are asked for, and those that are taken from them
Config = tuple[tuple[StatePair, ...], tuple[StatePair, ...]]


@attrs.frozen
class _Pairs:
    """One config's pairs, worked out: which keys of which types."""

    #: every type that is not in `keys`
    everything: bool
    #: keys asked for of a type; with `everything`, what the type is narrowed to
    keys: Mapping[str, frozenset[str]]
    #: keys asked for of any type
    any_type: frozenset[str]
    #: what is taken from all that
    excluded: frozenset[StatePair] = frozenset()

    @property
    def all_members(self) -> bool:
        keys = self.keys.get(MEMBER)
        return _ANY in self.any_type or (self.everything if keys is None else _ANY in keys)

    def matches(self, event_type: str, state_key: str) -> bool:
        if self.excluded and self._excludes(event_type, state_key):
            return False
        keys = self.keys.get(event_type)
        if keys is None:
            return self.everything or state_key in self.any_type
        return state_key in keys or _ANY in keys or state_key in self.any_type

    def _excludes(self, event_type: str, state_key: str) -> bool:
        keys, types = (state_key, _ANY), (event_type, _ANY)
        return any((kind, key) in self.excluded for kind in types for key in keys)


def _worked_out(config: Config, user_id: str) -> _Pairs:
    pairs, excluded = config
    keys: dict[str, set[str]] = {}
    any_type: set[str] = set()
    everything = False
    for event_type, state_key in pairs:
        if (event_type, state_key) == EVERYTHING:
            everything = True
        elif event_type == _ANY:
            any_type.add(user_id if state_key == _ME else state_key)
        else:
            asked = keys.setdefault(event_type, set())
            if (event_type, state_key) != (MEMBER, _LAZY):
                asked.add(user_id if state_key == _ME else state_key)
    # most types are asked for with one key, the same for all users
    named = {kind: shared_set(frozenset(asked)) for kind, asked in keys.items()}
    return _Pairs(everything, named, frozenset(any_type), frozenset(excluded))


@attrs.frozen(cache_hash=True)
class RequiredState:
    """What one or several configs ask for; equal if the same was asked for."""

    user_id: str
    #: narrowing and excluding happen within one config, then they are united
    configs: frozenset[Config]
    _parts: tuple[_Pairs, ...] = attrs.field(eq=False, repr=False)
    #: whether members come lazily
    lazy: bool = attrs.field(eq=False)
    #: whether every member event is asked for
    all_members: bool = attrs.field(eq=False, repr=False)
    #: members asked for by user id
    named_members: frozenset[str] = attrs.field(eq=False, repr=False)
    #: whether members are asked for that need not have anything to do with the timeline: all, or others by name
    other_members: bool = attrs.field(eq=False, repr=False)
    #: asks for the same beside members, and is one for all users; `None`: what is asked for depends on the user
    _anybodys: RequiredState | None = attrs.field(eq=False, repr=False)

    def __or__(self, other: RequiredState) -> RequiredState:
        """What either asks for."""
        return self if self.configs >= other.configs else _of(self.user_id, self.configs | other.configs)

    def __bool__(self) -> bool:
        """Whether anything is asked for."""
        return any(pairs for pairs, _ in self.configs)

    def matches(self, event_type: str, state_key: str) -> bool:
        """Whether this state event is asked for, lazy members aside."""
        if len(self._parts) == 1:
            # as with most clients
            return self._parts[0].matches(event_type, state_key)
        return any(part.matches(event_type, state_key) for part in self._parts)

    @property
    def beside_members(self) -> RequiredState:
        """What asks for the same state, members aside: the same object for all users for whom that is the same."""
        return self if self._anybodys is None else self._anybodys

    def widens(self, other: RequiredState) -> bool:
        """Whether this asks for something that `other` does not."""
        if self is other or self.configs <= other.configs:
            return False
        return (self.lazy and not other.lazy) or any(not other._covers(part) for part in self._parts)

    def _covers(self, part: _Pairs) -> bool:
        """Whether everything that the part asks for is asked for here; where something is excluded, that is unsure."""
        if any(mine.excluded for mine in self._parts):
            return part in self._parts
        if part.everything:
            named = {kind for mine in self._parts if mine.everything for kind in mine.keys}
            if not any(mine.everything for mine in self._parts):
                return False
            if not all(kind in part.keys or self.matches(kind, _ANY) for kind in named):
                return False
        pairs = [(kind, key) for kind, keys in part.keys.items() for key in keys]
        # a key of any type is one of the types that are narrowed here, too
        narrowed = {kind for mine in self._parts for kind in mine.keys}
        pairs += [(kind, key) for key in part.any_type for kind in {_ANY, *part.keys, *narrowed}]
        return all(self.matches(*pair) for pair in pairs)


@lru_cache(maxsize=10_000)
def _of(user_id: str, configs: frozenset[Config]) -> RequiredState:
    parts = tuple(_worked_out(config, user_id) for config in configs)
    all_members, named = any(part.all_members for part in parts), _named_members(parts)
    return RequiredState(
        user_id,
        configs,
        parts,
        lazy=any((MEMBER, _LAZY) in pairs for pairs, _ in configs),
        all_members=all_members,
        named_members=named,
        other_members=all_members or any(key.startswith("@") for key in named - {user_id}),
        anybodys=None if user_id == _NOBODY or _names_reader(configs) else _of(_NOBODY, configs),
    )


def _named_members(parts: Iterable[_Pairs]) -> frozenset[str]:
    named = [keys for part in parts for keys in (part.keys.get(MEMBER, _NONE), part.any_type) if keys]
    found = named[0] if len(named) == 1 else frozenset[str]().union(*named)
    return found - {_ANY} if _ANY in found else found


def _names_reader(configs: Iterable[Config]) -> bool:
    """Whether state is asked for by the user's own id that is no member event."""
    return any(kind != MEMBER and key == _ME for pairs, _ in configs for kind, key in pairs)


def required_state(pairs: Iterable[StatePair], user_id: str, excluded: Iterable[StatePair] = ()) -> RequiredState:
    """What one config asks for on behalf of the user; `*` stands for any type or key in `excluded`, too."""
    return _of(user_id, frozenset({(tuple(sorted(set(pairs))), tuple(sorted(set(excluded))))}))


def required_state_of(user_id: str, configs: Iterable[Config]) -> RequiredState:
    """What was asked for by these configs: the inverse of `configs`."""
    return _of(user_id, frozenset(configs))
