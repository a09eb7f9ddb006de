"""A session that is held with the proxy and with Synapse's own sliding sync, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from twisted.internet.threads import deferToThread

from tests.e2e.harness import EndToEndCase, shared_proxy
from tests.e2e.listed import Listed
from tests.e2e.person import Json, Person
from tests.e2e.proxy import ProxyProcess
from tests.e2e.side_by_side import Pair
from tests.e2e.synapse import Synapse

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "reference" / "native.md"
NAMED = [["m.room.create", ""], ["m.room.name", ""], ["m.room.member", "$ME"], ["m.room.member", "$LAZY"]]


def body(last: int = 19, limit: int = 5, state: list[list[str]] = NAMED, **more: object) -> Json:
    """A request for a list of rooms up to an index."""
    return {"conn_id": "pair", "lists": {"all": {"ranges": [[0, last]], **config(limit, state)}}, **more}


def config(limit: int = 5, state: list[list[str]] = NAMED) -> Json:
    """What is asked of each room of a list, or of a subscription."""
    return {"timeline_limit": limit, "required_state": state}


def on(*names: str, **more: object) -> Json:
    """Extensions that are asked for."""
    return {name: {"enabled": True, **more} for name in names}


class NativeCase(EndToEndCase):
    """Alice acts; Bob looks at both servers, each with a device of its own."""

    async def setUp(self) -> None:  # type: ignore[override]
        """Nothing has happened yet."""
        await super().setUp()
        #: what ids are called on the page
        self.names: dict[str, str] = {}
        self.alice, self.bob = self.people("alice", "bob")
        self.devices = self.bob, self.bob.another_device()
        self.pair = self.pair_of(*self.devices)
        # of what was before the first poll the proxy holds an event a room
        self.pair.settle()

    async def first_proxy(self) -> ProxyProcess:
        """One for all sessions: their users are different ones, and none of them ends it."""
        return await deferToThread(shared_proxy)

    def person(self, name: str, synapse: Synapse | None = None) -> Person:
        """A new user of this test, called by this name on the page."""
        person = super().person(name, synapse)
        self.names[person.user_id] = f"@{name}"
        return person

    def pair_of(self, ours: Person, native: Person) -> Pair:
        """Connections of two devices of one user."""
        return Pair(self.proxy.url, self.synapse.url, ours, native)

    @contextmanager
    def scenario(self, name: str) -> Iterator[None]:
        """A session; it fails if a step differs otherwise than the page lists, or no longer as the page lists."""
        self._scenario, self._listed = name, Listed(PAGE.read_text())
        self._unlisted: list[str] = []
        yield
        unseen = [str(row) for row in self._listed.unseen(name)]
        if self._unlisted or unseen:
            self.fail("\n".join(["not listed:", *self._unlisted, "listed, but did not occur:", *unseen]))

    def same(self, step: str, asked: Json, pair: Pair | None = None, *, again: bool = False) -> None:
        """Both answer alike, but for what the page lists; `again`: the answers before were lost."""
        step = f"{self._scenario}: {step}"
        for one in self._listed.unlisted(step, (pair or self.pair).ask(asked, self.names, again=again)):
            self._unlisted.append(f"| `{step}` | `{one.place}` | `{one.ours}` | `{one.native}` |")

    def same_anew(self, step: str, asked: Json) -> None:
        """Both answer alike a client that has no `pos` any more."""
        self.pair = self.pair_of(*self.devices)
        self.same(step, asked)

    async def appear(self, who: Person, field: str, value: str, *rooms: str) -> None:
        """Somebody's profile says something else, in these rooms, too."""
        who.set_profile(field, value)
        await self.becomes_true(lambda: all(who.appears_as(room, field) == value for room in rooms), "profile")

    def room(self, name: str, *members: Person, **more: object) -> str:
        """A room of Alice's, called by its name on the page."""
        room_id = self.alice.create_room(name, *members, **more)
        self.names[room_id] = f"!{name}"
        return room_id

    def nameless(self, called: str, *members: Person, **more: object) -> str:
        """A room of Alice's that has no name."""
        made: str = self.alice.call("POST", "createRoom", {"preset": "public_chat", **more})["room_id"]
        self.names[made] = f"!{called}"
        for member in members:
            member.join(made)
        return made
