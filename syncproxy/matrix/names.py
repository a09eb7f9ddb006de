"""Room names, heroes and avatars."""

from __future__ import annotations

import msgspec


class Hero(msgspec.Struct, frozen=True, gc=False):
    """A member by whom a nameless room is called."""

    user_id: str
    #: `join`, `invite`, `leave` or `ban`
    membership: str
    displayname: str | None = None
    avatar_url: str | None = None
