"""A connection's parameters: what requests said so far (spec/msc3575.md, "Sticky parameters")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from syncproxy.errors import InvalidParam
from syncproxy.protocol.dialect import Semantics
from syncproxy.protocol.request import (
    ExtensionParams,
    Filters,
    ListParams,
    OldRooms,
    Range,
    Request,
    Sort,
    StatePair,
    SubscriptionParams,
)

#: what a connection may gather, request by request
MAX_LISTS = 100
MAX_SUBSCRIPTIONS = 1000


@attrs.frozen
class ListConfig:
    """All of one list's parameters. `ranges` is `None` for a list that never had any."""

    ranges: tuple[Range, ...] | None = None
    sort: tuple[Sort, ...] = ("by_recency",)
    filters: Filters = Filters()
    required_state: tuple[StatePair, ...] = ()
    timeline_limit: int = 0
    include_old_rooms: OldRooms | None = None
    include_heroes: bool = False
    bump_event_types: tuple[str, ...] = ()
    slow_get_all_rooms: bool = False
    excluded_state: tuple[StatePair, ...] = ()


@attrs.frozen
class Params:
    """The parameters in force. A part that a request did not change stays the same object."""

    lists: Mapping[str, ListConfig] = attrs.field(factory=dict)
    subscriptions: Mapping[str, SubscriptionParams] = attrs.field(factory=dict)
    extensions: Mapping[str, ExtensionParams] = attrs.field(factory=dict)

    def merged(self, request: Request, semantics: Semantics) -> Params:
        """These parameters as the request changes them; `self` if it does not. Raises `InvalidParam`, changes nothing.

        Without sticky parameters, what the request says is all there is.
        """
        before = self if semantics.sticky else Params()
        if semantics.keeps_subscriptions_without_conn_id and not request.conn_id:
            before = Params(subscriptions=self.subscriptions)
        lists = _lists(before.lists, request, semantics)
        subscriptions = {**before.subscriptions, **request.room_subscriptions}
        for room_id in request.unsubscribe_rooms:
            subscriptions.pop(room_id, None)
        extensions = dict(before.extensions)
        for name, extension in request.extensions.items():
            known = extensions.get(name)
            extensions[name] = extension if known is None else attrs.evolve(known, **_said(extension))
        _check(lists, MAX_LISTS, "lists")
        _check(subscriptions, MAX_SUBSCRIPTIONS, "room_subscriptions")
        return self._with(lists, subscriptions, extensions)

    def _with(
        self,
        lists: Mapping[str, ListConfig],
        subscriptions: Mapping[str, SubscriptionParams],
        extensions: Mapping[str, ExtensionParams],
    ) -> Params:
        if (lists, subscriptions, extensions) == (self.lists, self.subscriptions, self.extensions):
            return self
        same_lists, same_rooms = lists == self.lists, subscriptions == self.subscriptions
        return Params(
            self.lists if same_lists else lists, self.subscriptions if same_rooms else subscriptions, extensions
        )


class Merging:
    """Remembers one connection's last request: saying the same again changes nothing, and need not be looked at."""

    def __init__(self) -> None:
        #: its fingerprint, in which dialect, and what it left in force
        self._last: tuple[bytes, Semantics, Params] | None = None

    def merged(self, params: Params, request: Request, semantics: Semantics) -> Params:
        """See `Params.merged`."""
        if self._last == (request.fingerprint, semantics, params):
            return params
        merged = params.merged(request, semantics)
        self._last = request.fingerprint, semantics, merged
        return merged


def _lists(before: Mapping[str, ListConfig], request: Request, semantics: Semantics) -> dict[str, ListConfig]:
    lists = dict(before)
    for key, said in request.lists.items():
        if said.deleted:
            lists.pop(key, None)
        else:
            lists[key] = _list(lists.get(key), said, semantics)
    return lists


def _list(before: ListConfig | None, params: ListParams, semantics: Semantics) -> ListConfig:
    said = _said(params)
    del said["deleted"]
    if before is not None and semantics.zero_is_absent and not said.get("timeline_limit"):
        said.pop("timeline_limit", None)
    return ListConfig(**said) if before is None else attrs.evolve(before, **said)


def _said(params: Any) -> dict[str, Any]:
    """The members that are there."""
    return attrs.asdict(params, recurse=False, filter=lambda _, value: value is not None)


def _check(values: Mapping[str, Any], most: int, name: str) -> None:
    if len(values) > most:
        raise InvalidParam(f"{name}: the connection has more than {most}")
