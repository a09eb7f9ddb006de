"""Row 10: a join in a room of 50,000 costs what it costs in a room of two."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from statistics import median

import attrs

from benchmarks.bench import Bench
from benchmarks.figures import Measurement, Usage, milliseconds, together
from benchmarks.homeserver.emission import FloodResult
from benchmarks.homeserver.world import Group
from benchmarks.rows.common import per_request_us, ratio, warm

_MANY = 50_000
#: how many times what a join in a room of two costs
_MOST = 1.2
_ROUNDS = 5
#: until a first poll is followed by long ones, and what follows it in the background is done
_REST_S = 5.0
#: what it is, how many members, and whether all of them are stored
_VARIANTS = (("2 members", 2, False), (f"{_MANY} members", _MANY, False), (f"{_MANY} members, all stored", _MANY, True))


@attrs.frozen
class Seen:
    """Joins in one room for a while, and what they took."""

    flood: FloodResult
    usage: Usage


def measure(bench: Bench) -> Iterator[Measurement]:
    """A measurement for each variant; the later ones are compared with the first.

    They take turns at one server, so that what the machine does besides concerns all of them.
    """
    groups = [
        Group(f"joins{members}{'all' if stored else ''}x", 1, 1, members=members, eager=stored)
        for _, members, stored in _VARIANTS
    ]
    seen: dict[str, list[Seen]] = {what: [] for what, *_ in _VARIANTS}
    with bench.server() as server:
        for group in groups:
            warm(bench, server, bench.homeserver.add(group))
        time.sleep(_REST_S)
        for number in range(_ROUNDS + 1):
            for group, what in zip(groups, seen, strict=True):
                one = Seen(*server.measured(partial(_flood, bench, group, bench.options.amount(1.5, 3))))
                # in the first round plans and caches, the database's too, come to be
                seen[what] += [one] if number else []
    least = costs_of([_least(bench)])
    smallest: dict[str, float] = {}
    for what, rounds in seen.items():
        costs = costs_of(rounds)
        told = measurement(what, rounds, costs, smallest)
        told.floor = least
        told.values |= {
            f"ratio to the floor, {name.removesuffix(' a join, us').removesuffix(' ms')}": ratio(costs[name], floor)
            for name, floor in least.items()
            if name in costs
        }
        yield told
        smallest = smallest or costs


def _least(bench: Bench) -> Seen:
    """Joins that a poller takes, and nobody stores."""
    group = Group("joinsfloorx", 1, 1, members=2)
    with bench.relay() as relay:
        warm(bench, relay, bench.homeserver.add(group))
        time.sleep(1)
        return Seen(*relay.measured(partial(_flood, bench, group, bench.options.amount(3, 10))))


def _flood(bench: Bench, group: Group, seconds: float) -> FloodResult:
    bench.homeserver.start_flood(group.name, joins=True)
    time.sleep(seconds)
    return bench.homeserver.calm()


def costs_of(rounds: list[Seen]) -> dict[str, float]:
    """What a join costs, by name: the medians of the rounds, without what cannot be told."""
    each = [
        {
            "p50 ms": 0.0 if cycle is None else cycle.p50,
            "CPU a join, us": per_request_us(usage.cpu_s, flood.answers),
            "database CPU a join, us": per_request_us(usage.database_cpu_s, flood.answers),
            "WAL a join, bytes": round((usage.wal_bytes or 0) / max(flood.answers, 1), 1),
        }
        for flood, usage in ((one.flood, one.usage) for one in rounds)
        for cycle in (milliseconds(flood.cycles_ns),)
    ]
    costs = {name: median(one[name] for one in each) for name in each[0]}
    return {name: cost for name, cost in costs.items() if cost}


def measurement(what: str, rounds: list[Seen], costs: dict[str, float], smallest: dict[str, float]) -> Measurement:
    """What was seen of a variant; `smallest` is what joins in the smallest room cost, if that was measured."""
    one = Measurement(row=10, what=f"joins, {what}", usage=together([one.usage for one in rounds]))
    one.put("from an answer to the next request", milliseconds([ns for one in rounds for ns in one.flood.cycles_ns]))
    one.values |= costs
    for name, cost in costs.items():
        if name in smallest:
            one.expect(f"{name}, as a multiple of that in a room of 2", ratio(cost, smallest[name]), _MOST)
    return one
