"""Two ways to make events: at a rate, whatever the proxy does; or one for each poll that asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from time import monotonic_ns

import attrs
import msgspec

from benchmarks.homeserver.world import Room, User


class Emitted(msgspec.Struct):
    """An event: when it was due, who may hear, and when the first answer with it left (0: none did); in ns."""

    event_id: str
    due_ns: int
    listeners: list[str]
    left_ns: int = 0
    room_id: str = ""


async def emit(
    users: list[User],
    rate: float,
    seconds: float,
    rng: Random,
    send: Callable[[Room], str],
    *,
    even: bool = False,
) -> list[Emitted]:
    """Poisson arrivals, `rate` a second on average, in random rooms of random users; `even`: always as far apart.

    What is late is made at once, and keeps the time when it was due.
    """
    emitted: list[Emitted] = []
    started_ns = due_ns = monotonic_ns()
    while True:
        due_ns += int((1 / rate if even else rng.expovariate(rate)) * 1e9)
        if due_ns > started_ns + seconds * 1e9:
            return emitted
        await asyncio.sleep(max(0.0, (due_ns - monotonic_ns()) / 1e9))
        # nobody talks in spaces, and room lists leave them out
        room = rng.choice([room for room in rng.choice(users).rooms if room.kind != "space"])
        listeners = [user.user_id for user in room.locals]
        emitted.append(Emitted(send(room), due_ns, listeners, room_id=room.room_id))


class FloodResult(msgspec.Struct):
    """How a flood went: answers that the next request acknowledged, in `seconds`, and the ns from one to the other."""

    answers: int
    seconds: float
    cycles_ns: list[int]


@attrs.define
class Flood:
    """Each poll of these users is answered at once, with one event in one of the user's own rooms."""

    users: set[User]
    #: the answers have no new event, but a known one again
    repeats: bool = False
    started_ns: int = attrs.field(factory=monotonic_ns)
    left_ns: dict[User, int] = attrs.field(factory=dict)
    turns: dict[User, int] = attrs.field(factory=dict)
    cycles_ns: list[int] = attrs.field(factory=list)

    def asked(self, user: User, arrived_ns: int) -> Room:
        """A poll came: what was answered before is stored. The room for the next event."""
        left_ns = self.left_ns.pop(user, None)
        if left_ns is not None:
            self.cycles_ns.append(arrived_ns - left_ns)
        turn = self.turns[user] = self.turns.get(user, -1) + 1
        return user.rooms[turn % len(user.rooms)]

    def answered(self, user: User, left_ns: int) -> None:
        """The answer left."""
        self.left_ns[user] = left_ns

    def result(self) -> FloodResult:
        """What was seen until now."""
        return FloodResult(len(self.cycles_ns), (monotonic_ns() - self.started_ns) / 1e9, self.cycles_ns)
