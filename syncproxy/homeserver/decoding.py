"""From the bytes of an answer to its sections: here if that is quick, else in a process of its own.

The reactor is held for one pass over at most MOST_JOINED bytes (spec/upstream.md, "One poller per device").
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from twisted.internet.task import deferLater
from twisted.logger import Logger

from syncproxy.homeserver.assembling import Assembly, Decoded
from syncproxy.homeserver.bodies import Body
from syncproxy.homeserver.children import Children, DecodingFailed
from syncproxy.homeserver.event_lists import parse_members, parse_sound_members, parse_sound_state, parse_state
from syncproxy.homeserver.repairs import UNSOUND
from syncproxy.homeserver.sync_response import parse_sound_sync, parse_sync
from syncproxy.turns import Turn

_T = TypeVar("_T")
#: bytes of a body that is decoded, and repaired, at once
_SMALL = 64 * 1024
#: bytes that are looked at between two looks at the time
_SLICE = 1024 * 1024


class Decoding:
    """Decodes answers. Every method raises msgspec.DecodeError for what is none, DecodingFailed if it could not try."""

    _log = Logger(namespace="syncproxy")

    def __init__(self, reactor: Any, children: Children | None = None) -> None:
        self._reactor = reactor
        self._children = Children(reactor) if children is None else children

    async def sync(self, body: Body, dropped: Callable[[str], None]) -> Decoded:
        """An answer of `/sync`; `dropped` is told of each section of the wrong shape, left out alone."""
        response = await self._here(body, parse_sound_sync, lambda small: parse_sync(small, dropped))
        if response is not None:
            return Decoded(response)
        return (await self._elsewhere("sync", body, Assembly(dropped))).answer()

    async def members(self, body: Body) -> list[msgspec.Raw]:
        """The events of an answer of `/members`."""
        events = await self._here(body, parse_sound_members, parse_members)
        return (await self._elsewhere("members", body, Assembly())).events() if events is None else events

    async def state(self, body: Body) -> list[msgspec.Raw]:
        """The events of an answer of `/state`."""
        events = await self._here(body, parse_sound_state, parse_state)
        return (await self._elsewhere("state", body, Assembly())).events() if events is None else events

    async def stop(self) -> None:
        """Leave no process behind."""
        await self._children.stop()

    async def _here(self, body: Body, sound: Callable[[bytes], _T], repairing: Callable[[bytes], _T]) -> _T | None:
        """What a body has that is small, or sound and not large; `None` for others."""
        if not isinstance(body, bytes):
            return None
        if len(body) <= _SMALL:
            return repairing(body)
        if len(body) > _SLICE:
            # it was put together just now, and to take a huge room apart takes as long as to look at all of it
            await deferLater(self._reactor, 0)
        turn = Turn(self._reactor)
        try:
            await _check_text(body, turn)
            found = sound(body)
        except UNSOUND:
            found = None
        await turn.pause()
        return found

    async def _elsewhere(self, task: str, body: Body, assembly: Assembly) -> Assembly:
        try:
            await self._children.run(task, body, assembly.received)
            if not assembly.is_complete:
                raise DecodingFailed("the process did not hand back all")
        except DecodingFailed as problem:
            self._log.warn("An answer to {task} could not be decoded: {problem}", task=task, problem=str(problem))
            raise
        return assembly


async def _check_text(body: bytes, turn: Turn) -> None:
    """Events stay bytes, which msgspec does not look into. Raises UnicodeDecodeError."""
    if body.isascii():
        return
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(body), _SLICE):
        decoder.decode(body[start : start + _SLICE])
        await turn.pause()
    decoder.decode(b"", True)
