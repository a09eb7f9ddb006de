"""The lists that a client has by the ops of every answer, and those that it should have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from syncproxy.connection.params import ListConfig
from syncproxy.dialects.msc3575 import MSC3575
from syncproxy.protocol.request import Filters, Range
from syncproxy.protocol.response import Answer
from tests.caches.list_model import listed
from tests.connection.fakes import Stage
from tests.connection.plain_rooms import plain_rooms
from tests.integration.client_array import ClientArray

_Op = dict[str, Any]
_EVERYTHING = ((0, 10_000),)


class ListCopies:
    """Arrays and counts, one of each list. What they should be is worked out anew from what was stored."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._configs: Mapping[str, ListConfig] = {}
        self._arrays: dict[str, ClientArray] = {}
        self._counts: dict[str, int] = {}
        #: the filters of the lists of all rooms
        self._slow: dict[str, Filters] = {}
        #: each list's rooms when it was looked last
        self._now: dict[str, list[str]] = {}

    def take(self, answer: Answer, configs: Mapping[str, ListConfig], *, fresh: bool) -> None:
        """Apply an answer to lists of these parameters; a fresh one is of now."""
        assert answer.lists.keys() == configs.keys()
        self._configs = configs
        self._arrays = {key: self._arrays.get(key) or ClientArray() for key in configs}
        self._slow = {key: kept for key, kept in self._slow.items() if key in configs and _is_slow(configs[key])}
        if fresh:
            self.look()
        for key, one in msgspec.json.decode(MSC3575.encode(answer))["lists"].items():
            self._arrays[key].apply(one.get("ops", ()))
            self._counts[key] = one["count"]
            if _is_slow(configs[key]):
                self._take_all(key, one.get("ops", ()), fresh=fresh)

    def look(self) -> None:
        """See what the lists should be now."""
        rooms = plain_rooms(self._stage)
        self._now = {
            key: listed(rooms, config.filters, config.sort, config.bump_event_types)
            for key, config in self._configs.items()
        }

    def shown(self) -> set[str]:
        """The rooms that should be in some list's ranges."""
        found: set[str] = set()
        for key, config in self._configs.items():
            ranges = _EVERYTHING if _is_slow(config) else config.ranges or ()
            found.update(*(_window(self._now[key], one) for one in ranges))
        return found

    def having(self, room_id: str) -> list[ListConfig]:
        """The lists that should have the room, in their ranges or not."""
        return [config for key, config in self._configs.items() if room_id in self._now[key]]

    def check(self) -> None:
        """Raises `AssertionError` if a list, inside its ranges, is not what it should be."""
        for key, config in self._configs.items():
            order = self._now[key]
            assert self._counts[key] == len(order), (key, "count", self._counts[key], order)
            for one in () if _is_slow(config) else config.ranges or ():
                inside, expected = self._arrays[key].window(*one), _window(order, one)
                assert inside == expected + [None] * (len(inside) - len(expected)), (key, inside, expected)

    def _take_all(self, key: str, ops: Sequence[_Op], *, fresh: bool) -> None:
        """A list of all rooms has one SYNC at first and when its filters change, if there are rooms; else no ops."""
        filters = self._configs[key].filters
        is_due, self._slow[key] = self._slow.get(key) != filters, filters
        expected = ["SYNC"] if is_due and self._counts[key] else []
        assert [op["op"] for op in ops] == expected, (key, ops)
        if fresh and is_due:
            everything = self._arrays[key].window(0, self._counts[key] - 1)
            assert sorted(map(str, everything)) == sorted(self._now[key]), (key, everything)


def _is_slow(config: ListConfig) -> bool:
    return config.slow_get_all_rooms


def _window(order: list[str], one: Range) -> list[str]:
    return order[one[0] : one[1] + 1]
