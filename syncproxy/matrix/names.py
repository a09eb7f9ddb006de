"""Room names, heroes and avatars, as MSC3575 computes them (spec/rooms.md, "Names, heroes, avatars")."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
from msgspec.structs import force_setattr

from syncproxy.matrix.sharing import shared

#: how many heroes a name is made of
MAX_HEROES = 5

_PRESENT = frozenset({"join", "invite"})


class Hero(msgspec.Struct, frozen=True, gc=False):
    """A member by whom a nameless room is called."""

    user_id: str
    #: `join`, `invite`, `leave` or `ban`
    membership: str
    displayname: str | None = None
    avatar_url: str | None = None

    def __post_init__(self) -> None:
        # a user is a hero of many rooms, mostly with one name and avatar
        force_setattr(self, "user_id", shared(self.user_id))
        force_setattr(self, "membership", shared(self.membership))
        if self.displayname is not None:
            force_setattr(self, "displayname", shared(self.displayname))
        if self.avatar_url is not None:
            force_setattr(self, "avatar_url", shared(self.avatar_url))


class RoomName(msgspec.Struct, frozen=True, gc=False):
    """A room's name as one user sees it. `computed`: made from the heroes, not given by the room."""

    name: str
    heroes: tuple[Hero, ...] = ()
    computed: bool = False


def heroes_for(user_id: str, heroes: Iterable[Hero]) -> tuple[Hero, ...]:
    """The first five heroes other than the reader."""
    return tuple(hero for hero in heroes if hero.user_id != user_id)[:MAX_HEROES]


def room_name(
    name: str | None, canonical_alias: str | None, heroes: tuple[Hero, ...], *, joined_count: int, invited_count: int
) -> RoomName:
    """The name of a room: its own, its alias, or one made from the heroes (those of `heroes_for` the reader).

    The counts include the reader. Without any (0 joined), only the heroes tell whether anybody is left.
    """
    given = name or canonical_alias
    if given:
        return RoomName(given, heroes)
    others = joined_count + invited_count - 1 if joined_count else None
    return RoomName(_computed(heroes, others), heroes, computed=True)


def room_avatar(avatar_url: str | None, heroes: Iterable[Hero], *, is_dm: bool) -> str | None:
    """The room's avatar; without one, in a DM with exactly one joined or invited hero, that hero's."""
    if avatar_url or not is_dm:
        return avatar_url or None
    present = [hero for hero in heroes if hero.membership in _PRESENT]
    return present[0].avatar_url or None if len(present) == 1 else None


def _computed(heroes: tuple[Hero, ...], others: int | None) -> str:
    present = tuple(hero for hero in heroes if hero.membership in _PRESENT)
    if others is None:
        others = len(present)
    if others <= 0:
        gone = _joined_names(_disambiguated(heroes))
        return f"Empty Room (was {gone})" if gone else "Empty Room"
    if not present:
        return "Empty Room"
    names = _disambiguated(present)
    if len(names) < others:
        return f"{', '.join(names)} and {others - len(names)} others"
    return _joined_names(names)


def _disambiguated(heroes: Sequence[Hero]) -> list[str]:
    names = [hero.displayname or hero.user_id for hero in heroes]
    alike = Counter(names)
    return [
        f"{name} ({hero.user_id})" if alike[name] > 1 and name != hero.user_id else name
        for name, hero in zip(names, heroes, strict=True)
    ]


def _joined_names(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
