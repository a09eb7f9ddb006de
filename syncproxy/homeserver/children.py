"""Processes that decode bodies: fed, listened to, and never left behind."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.interfaces import IPullProducer
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from syncproxy.homeserver.bodies import Body
from syncproxy.homeserver.frames import FrameReader, Head

#: each takes several times the memory of its body
_AT_A_TIME = 2
#: how long one may take, in s: so long, and so much longer for each MiB
_LIMIT_S, _LIMIT_S_A_MIB = 60.0, 1.0
_MIB = 1024 * 1024
#: what of the environment a process needs; secrets can be in the rest
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "LANG")
_COMMAND = (sys.executable, "-P", "-m", "syncproxy.homeserver.decoding_child")


class DecodingFailed(Exception):
    """The process that was to decode an answer ended before it had, or took too long."""


class Children:
    """Starts a process for each body, a few at a time. `command` is what is run, with the task after it."""

    def __init__(self, reactor: Any, command: Sequence[str] = _COMMAND) -> None:
        self._reactor = reactor
        self._command = command
        self._running: set[_Child] = set()
        self._slots = DeferredSemaphore(_AT_A_TIME)
        self._stopped = False

    async def run(self, task: str, body: Body, received: Callable[[Head, bytes], None]) -> None:
        """Have a body decoded; `received` is given each frame in a turn of the reactor.

        Raises what `received` raises, and DecodingFailed; a process that is not wanted any more is killed.
        """
        await self._slots.acquire()
        try:
            if self._stopped:
                raise DecodingFailed("stopped")
            await self._run(task, body, received)
        finally:
            self._slots.release()

    async def stop(self) -> None:
        """Kill all, and return when none is left."""
        self._stopped = True
        running = list(self._running)
        for child in running:
            child.fail(DecodingFailed("stopped"))
        await DeferredList([child.gone for child in running])

    async def _run(self, task: str, body: Body, received: Callable[[Head, bytes], None]) -> None:
        child = _Child(body, received)
        command = [*self._command, task]
        # may fail, where there is no memory: then there is nothing to kill or to wait for
        self._reactor.spawnProcess(child, command[0], command, env=_environment(os.environ))
        self._running.add(child)
        child.gone.addCallback(lambda _: self._running.discard(child))
        limit_s = _limit_s(body)
        limit = self._reactor.callLater(limit_s, lambda: child.fail(DecodingFailed(f"took more than {limit_s:.0f} s")))
        try:
            await child.done
        finally:
            if limit.active():
                limit.cancel()


@implementer(IPullProducer)
class _Child(ProcessProtocol):
    """`done` fires when the process ended well, or fails at once; `gone` fires when there is no process any more."""

    #: Twisted's interface lacks the producers that its processes have
    transport: Any

    def __init__(self, body: Body, received: Callable[[Head, bytes], None]) -> None:
        self._pieces = _pieces(body)
        self._received = received
        self._reader = FrameReader()
        self.done: Deferred[None] = Deferred(lambda done: self._kill())
        self.gone: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """The last piece is written: write another, or say that it was the last."""
        piece = next(self._pieces, None)
        if piece is not None:
            self.transport.write(piece)
        else:
            self.transport.unregisterProducer()
            self.transport.closeStdin()

    def stopProducing(self) -> None:
        """It does not listen any more: `processEnded` will come."""

    def outReceived(self, data: bytes) -> None:
        if self.done.called:
            return
        try:
            for head, payload in self._reader.received(data):
                self._received(head, payload)
        except Exception as problem:
            self.fail(problem)

    def processEnded(self, reason: Failure) -> None:
        if not self.done.called:
            if reason.check(ProcessDone):
                self.done.callback(None)
            else:
                # what it said on stderr could have content in it
                self.done.errback(DecodingFailed(reason.getErrorMessage()))
        self.gone.callback(None)

    def fail(self, problem: Exception) -> None:
        """Give up, and kill the process."""
        self._kill()
        if not self.done.called:
            self.done.errback(problem)

    def _kill(self) -> None:
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")


def _pieces(body: Body) -> Iterator[bytes]:
    """The body in pieces, so that no long copies are made of it."""
    parts = (body,) if isinstance(body, bytes) else body.parts
    for part in parts:
        for start in range(0, len(part), _MIB):
            yield part[start : start + _MIB]


def _limit_s(body: Body) -> float:
    parts = (body,) if isinstance(body, bytes) else body.parts
    return _LIMIT_S + sum(map(len, parts)) / _MIB * _LIMIT_S_A_MIB


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    kept = {name: environment[name] for name in _INHERITED if name in environment}
    # so that it finds the same packages as this process
    return {**kept, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
