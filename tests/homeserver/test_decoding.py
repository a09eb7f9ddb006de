"""Decoding here or in a process of its own: real processes, killed in time, none left behind."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, cast

import msgspec
from twisted.internet import reactor as default_reactor
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock, LoopingCall, deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from syncproxy.homeserver.assembling import Decoded
from syncproxy.homeserver.bodies import LargeBody
from syncproxy.homeserver.children import Children, DecodingFailed
from syncproxy.homeserver.decoding import Decoding
from syncproxy.homeserver.sync_response import JoinBlock
from syncproxy.turns import Turn
from syncproxy.v2.dropping import Dropped
from syncproxy.v2.sections import Sections

reactor: Any = default_reactor
#: a child that never answers, one that breaks, one that says half of what it should, one that says something else
HANGS = "import time; time.sleep(600)"
BREAKS = "import sys; sys.stdin.read(); sys.exit(3)"
STOPS = "import sys; sys.stdin.read()"
TALKS = "import sys; sys.stdin.read(); print('hello, this is no frame at all ' * 9)"


def member(number: int, name: str = "x") -> dict[str, Any]:
    """A member event."""
    user = f"@user{number}:hs"
    content = {"membership": "join", "displayname": name, "avatar_url": "mxc://hs/abcdefghijklmnopqrstuvw"}
    more = {"origin_server_ts": 1700000000000 + number, "unsigned": {"age": 5, "replaces_state": "$" + "r" * 43}}
    return {
        "event_id": f"${number:043}",
        "type": "m.room.member",
        "sender": user,
        "state_key": user,
        "content": content,
    } | more


def answer(events: int, name: str = "x") -> bytes:
    """An answer with one room of so many members."""
    rooms = {"join": {"!r": {"state": {"events": [member(number, name) for number in range(events)]}}}}
    return json.dumps({"next_batch": "s2", "rooms": rooms}).encode()


def in_parts(body: bytes) -> LargeBody:
    """A body as it comes when it is large."""
    return LargeBody(tuple(body[start : start + 100_000] for start in range(0, len(body), 100_000)))


class NoChildren:
    """No process may be started."""

    async def run(self, task: str, body: Any, received: Any) -> None:
        """Refuse."""
        raise AssertionError("a process was wanted")


class HereTests(SynchronousTestCase):
    """What is decoded in this process."""

    def setUp(self) -> None:
        """There are no others."""
        self.clock = Clock()
        self.decoding = Decoding(self.clock, cast(Children, NoChildren()))

    def decode(self, body: bytes) -> Decoded:
        """Decode."""
        decoding = ensureDeferred(self.decoding.sync(body, self.fail))
        self.clock.advance(0)
        return self.successResultOf(decoding)

    def test_small(self) -> None:
        """What is small is repaired at once."""
        self.assertEqual(self.decode(rb'{"next_batch": "s2", "x": "\ud800"}').response.next_batch, "s2")

    def test_sound(self) -> None:
        """What is sound, and not large, stays here, with or without letters beyond ASCII."""
        for name in ("x", "é"):
            body = answer(1000, name)
            self.assertGreater(len(body), 65536)
            self.assertEqual(self.decode(body).response.next_batch, "s2")
        self.assertEqual(self.decode(b"null" + b" " * 100_000).response.next_batch, None)

    def test_in_turns(self) -> None:
        """What is large is not looked at in the turn in which it came."""
        decoding = ensureDeferred(self.decoding.sync(b"{," + b" " * 2_000_000, self.fail))
        self.assertNoResult(decoding)
        self.clock.advance(0)
        self.failureResultOf(decoding, AssertionError)

    def test_unsound(self) -> None:
        """What is neither is not decoded here: bad text, deep nesting, a section of the wrong shape, no JSON."""
        long = b" " * 70_000
        deep = b'{"x": ' + b"[" * 900 + b"]" * 900
        for body in (b'{"x": "\xff"', rb'{"next_batch": "\ud800"', deep, b'{"device_lists": 5', b"{,"):
            decoding = ensureDeferred(self.decoding.sync(body + long + b"}", lambda section: None))
            self.clock.advance(0)
            self.failureResultOf(decoding, AssertionError)


class _Exhausted(Clock):
    """A reactor that cannot start processes."""

    def spawnProcess(self, *args: Any, **more: Any) -> None:
        """There is no memory for one."""
        raise BlockingIOError("Resource temporarily unavailable")


class NoProcessTests(SynchronousTestCase):
    """A system that has no room for another process."""

    def test_not_started(self) -> None:
        """A process that could not be started is not waited for when we stop, and its body is not kept."""
        children = Children(_Exhausted())
        running = ensureDeferred(children.run("sync", b"{}", lambda head, payload: None))
        self.failureResultOf(running, BlockingIOError)
        self.assertEqual(set(), children._running)
        self.successResultOf(ensureDeferred(children.stop()))


class ChildCase(TestCase):
    """Real processes; in the end there is none."""

    timeout = 60

    def decoding(self, script: str | None = None, clock: Any = reactor) -> Decoding:
        """One whose processes run this, if not what they should."""
        command = {} if script is None else {"command": (sys.executable, "-c", script)}
        self.children = Children(_Mixed(clock), **command)
        decoding = Decoding(reactor, self.children)
        self.addCleanup(decoding.stop)
        return decoding

    async def fails(self, decoding: Awaitable[Any], kind: type[Exception]) -> None:
        """See it fail."""
        try:
            await decoding
        except kind:
            return
        raise AssertionError("no failure")

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that other processes do."""
        while not condition():
            await deferLater(reactor, 0.01)


class _Mixed:
    """A reactor whose time is a clock's."""

    def __init__(self, clock: IReactorTime) -> None:
        self.callLater = clock.callLater
        self.pids: list[int] = []

    def spawnProcess(self, *args: Any, **more: Any) -> Any:
        """Start a process."""
        process = reactor.spawnProcess(*args, **more)
        self.pids.append(process.pid)
        return process


def pids(children: Children) -> list[int]:
    """The processes that were started."""
    mixed = children._reactor
    assert isinstance(mixed, _Mixed)
    return mixed.pids


def is_alive(pid: int) -> bool:
    """Whether there is such a process, be it dead and not waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class ChildTests(ChildCase):
    """What is decoded in a process of its own."""

    async def test_large(self) -> None:
        """A body in parts comes back as its sections, and the process is gone."""
        decoding = self.decoding()
        decoded = await decoding.sync(in_parts(answer(20_000)), self.fail)
        self.assertEqual(decoded.response.next_batch, "s2")
        events = decoded.lifted["join", "!r"]["state"]
        self.assertEqual([json.loads(bytes(events[n])) for n in (0, 19_999)], [member(0), member(19_999)])
        self.assertEqual(len(events), 20_000)
        (pid,) = pids(self.children)
        self.assertFalse(is_alive(pid))

    async def test_unsound(self) -> None:
        """What must be repaired is, and what is dropped is told of."""
        dropped: list[str] = []
        body = answer(1000).replace(b'"next_batch"', rb'"device_lists": 5, "x": "\ud800", "next_batch"')
        decoded = await self.decoding().sync(body, dropped.append)
        assert decoded.response.rooms is not None
        self.assertEqual((decoded.response.next_batch, set(dropped)), ("s2", {"device_lists"}))
        self.assertIn("!r", decoded.response.rooms.join or {})

    async def test_lists(self) -> None:
        """Members and state, too."""
        decoding = self.decoding()
        events = json.dumps([member(n) for n in range(2000)]).encode().replace(b'"x"', rb'"\ud800"')
        chunk = await decoding.members(b'{"chunk": %s}' % events)
        state = await decoding.state(in_parts(events))
        self.assertEqual([bytes(raw) for raw in chunk], [bytes(raw) for raw in state])
        self.assertEqual(json.loads(bytes(chunk[7])), member(7, "\ufffd"))

    async def test_no_answer(self) -> None:
        """What is no JSON is an error of the answer, not of the process."""
        decoding = self.decoding()
        for body in (b"<html>" * 20_000, b'{"next_batch": ' + b" " * 70_000):
            await self.fails(decoding.sync(body, self.fail), msgspec.DecodeError)

    async def test_environment(self) -> None:
        """The process is not told what this one was: there can be secrets in it."""
        os.environ["SYNCPROXY_TEST_SECRET"] = "x"
        self.addCleanup(os.environ.pop, "SYNCPROXY_TEST_SECRET")
        script = "import os, sys; sys.stdin.read(); sys.exit('SYNCPROXY_TEST_SECRET' in os.environ)"
        children = Children(reactor, command=(sys.executable, "-c", script))
        await children.run("sync", b"{}", lambda head, payload: None)


class BrokenChildTests(ChildCase):
    """Processes that do not what they should: the poll fails, and is tried again."""

    async def test_broken(self) -> None:
        """One that ends early, says too little, or says something else."""
        for script in (BREAKS, STOPS):
            await self.fails(self.decoding(script).sync(in_parts(b"{}" * 99), self.fail), DecodingFailed)
        await self.fails(self.decoding(TALKS).sync(in_parts(b"{}"), self.fail), DecodingFailed)

    async def test_does_not_listen(self) -> None:
        """One that ends without taking the body."""
        await self.fails(self.decoding("pass").sync(in_parts(b" " * 10_000_000), self.fail), DecodingFailed)

    async def test_time_limit(self) -> None:
        """One that takes too long is killed: a minute, and a second for each MiB."""
        clock = Clock()
        failing = ensureDeferred(self.decoding(HANGS, clock).sync(in_parts(b" " * 10 * 1024**2), self.fail))
        clock.advance(69.9)
        self.assertNoResult(failing)
        clock.advance(0.2)
        self.failureResultOf(failing, DecodingFailed)
        await self.until(lambda: not is_alive(pids(self.children)[0]))
        self.assertEqual(clock.getDelayedCalls(), [])

    async def test_cancelled(self) -> None:
        """One that nobody waits for any more is killed."""
        waiting = ensureDeferred(self.decoding(HANGS).sync(in_parts(b"{}"), self.fail))
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        await self.until(lambda: not is_alive(pids(self.children)[0]))

    async def test_stop(self) -> None:
        """When it has stopped, all are gone; those that waited for their turn, and later ones, are refused."""
        decoding = self.decoding(HANGS)
        waiting = [ensureDeferred(decoding.sync(in_parts(b"{}"), self.fail)) for _ in range(3)]
        self.assertEqual(len(pids(self.children)), 2)
        await decoding.stop()
        self.assertFalse(any(map(is_alive, pids(self.children))))
        for one in (*waiting, ensureDeferred(decoding.sync(in_parts(b"{}"), self.fail))):
            self.failureResultOf(one, DecodingFailed)
        self.assertEqual(len(pids(self.children)), 2)

    async def test_failures_free_their_place(self) -> None:
        """After processes that broke others have their turn."""
        decoding = self.decoding(BREAKS)
        for _ in range(4):
            await self.fails(decoding.sync(in_parts(b"{}"), self.fail), DecodingFailed)
        self.assertEqual(len(pids(self.children)), 4)


class StallTests(ChildCase):
    """How long the reactor is held."""

    async def longest(self, working: Deferred[Any]) -> float:
        """The longest time in s between two turns until this is done."""
        gaps: list[float] = []
        last = perf_counter()

        def tick() -> None:
            nonlocal last
            now = perf_counter()
            gaps.append(now - last)
            last = now

        ticking = LoopingCall(tick)
        ticking.start(0)
        try:
            await working
        finally:
            ticking.stop()
        tick()
        return max(gaps)

    async def values(self, body: Any) -> int:
        """Decode an answer and make values of its room: how many events it has."""
        decoded = await self.decoding().sync(body, self.fail)
        sections = Sections("@a:hs", Dropped(self.fail), Turn(reactor), decoded.lifted)
        assert decoded.response.rooms is not None
        ((room_id, raw),) = (decoded.response.rooms.join or {}).items()
        room = await sections.joined(room_id, raw)
        assert room is not None
        return len(room.state)

    async def test_stalls(self) -> None:
        """10 MB in one room take seconds of work, whether sound, unsound or large, and none of it at a stretch.

        The bound is loose: other programs run on this machine, too.
        """
        sound = answer(25_000, "é")
        unsound = sound.replace(b'"next_batch"', rb'"x": "\ud800", "next_batch"')
        for body in (sound, unsound, in_parts(sound)):
            working = ensureDeferred(self.values(body))
            self.assertLess(await self.longest(working), 0.15)
            self.assertEqual(await working, 25_000)

    async def test_block(self) -> None:
        """A long room's skeleton has no events, so that it is decoded at once."""
        decoded = await self.decoding().sync(in_parts(answer(20_000)), self.fail)
        assert decoded.response.rooms is not None
        raw = (decoded.response.rooms.join or {})["!r"]
        self.assertLess(len(bytes(raw)), 100)
        assert msgspec.json.decode(raw, type=JoinBlock).state is not None
