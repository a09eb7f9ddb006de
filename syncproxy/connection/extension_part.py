"""The extensions of a connection: made when they are enabled, asked for each answer, folded when it is acknowledged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Protocol, TypeGuard, runtime_checkable

import msgspec
from twisted.logger import Logger

from syncproxy.connection.params import Params
from syncproxy.errors import MatrixError
from syncproxy.extensions.core import Context, Extension
from syncproxy.matrix.devices import Device
from syncproxy.metrics import Metrics
from syncproxy.storage.problems import Blame, blame
from syncproxy.turns import Turn

_log = Logger()

Factories = Mapping[str, Callable[[Device], Extension]]


@runtime_checkable
class Persistent(Protocol):
    """An extension whose part of a connection's state is kept."""

    def packed(self, delta: Any) -> Mapping[str, Any]:
        """What the delta adds to what is kept, of plain values; `None`: all that is acknowledged now.

        What is added takes the place of what was there, in mappings member by member; there `None` is nothing.
        """

    def restore(self, packed: dict[str, Any]) -> None:
        """Begin with what was kept."""


def is_persistent(extension: Extension) -> TypeGuard[Persistent]:
    """Whether its part of a connection's state is kept."""
    return _is_persistent(type(extension))


@lru_cache(maxsize=100)
def _is_persistent(kind: type[Extension]) -> bool:
    # a look at all of a protocol's members takes longer than packing them
    return issubclass(kind, Persistent)


class ExtensionsAnswer(msgspec.Struct, frozen=True):
    """What the extensions say, whether it is reason enough to answer, and what it changes, by name.

    `settled`: all of them were heard, and none has more to say before there is a mark.
    """

    data: Mapping[str, bytes]
    news: bool
    deltas: Mapping[str, Any]
    settled: bool


def enabled(
    known: Mapping[str, Extension], params: Params, factories: Factories, device: Device
) -> Mapping[str, Extension]:
    """The extensions in use; one that is not known is made anew."""
    names = [name for name in factories if name in params.extensions and params.extensions[name].enabled]
    return {name: known.get(name) or factories[name](device) for name in names}


def restored(kept: Mapping[str, Any], factories: Factories, device: Device) -> Mapping[str, Extension]:
    """The extensions of which something was kept."""
    found = {name: factories[name](device) for name in kept if name in factories}
    for name, extension in found.items():
        if is_persistent(extension):
            extension.restore(kept[name])
    return found


async def extensions_answer(
    extensions: Mapping[str, Extension], params: Params, context: Context, metrics: Metrics, turn: Turn
) -> ExtensionsAnswer:
    """What each of them says. Raises what the database raises, and what the client is to be told.

    Pauses after each that took long, the last one too: with thousands of rooms, each takes a slice of its own.

    An extension on which the program stumbles is left out, logged and counted: rooms and the others still go out.
    """
    data: dict[str, bytes] = {}
    deltas: dict[str, Any] = {}
    news, settled = False, True
    for name, extension in extensions.items():
        try:
            said = await extension.answer(params.extensions[name], context)
        except Exception as problem:
            if isinstance(problem, MatrixError) or blame(problem) is Blame.DATABASE:
                raise
            metrics.errors.labels("extension").inc()
            _log.failure("An extension could not answer a client: {name}", name=name)
            settled = False
            continue
        await turn.pause()
        if said.data is not None:
            data[name] = said.data
        if said.delta is not None:
            deltas[name] = said.delta
        news = news or said.news
        settled = settled and said.delta is None and not said.repeats
    return ExtensionsAnswer(data, news, deltas, settled)
