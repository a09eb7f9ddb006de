"""The extensions of a connection: made when they are enabled, asked for each answer, folded when it is acknowledged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from syncproxy.connection.params import Params
from syncproxy.extensions.core import Context, Extension
from syncproxy.matrix.devices import Device

Factories = Mapping[str, Callable[[Device], Extension]]


@attrs.frozen
class ExtensionsAnswer:
    """What the extensions say, whether it is reason enough to answer, and what it changes, by name."""

    data: Mapping[str, bytes]
    news: bool
    deltas: Mapping[str, Any]


def enabled(
    known: Mapping[str, Extension], params: Params, factories: Factories, device: Device
) -> Mapping[str, Extension]:
    """The extensions in use. One that was disabled is forgotten: enabled again, it is made anew."""
    names = [name for name in factories if name in params.extensions and params.extensions[name].enabled]
    if len(names) == len(known) and all(name in known for name in names):
        return known
    return {name: known.get(name) or factories[name](device) for name in names}


async def extensions_answer(extensions: Mapping[str, Extension], params: Params, context: Context) -> ExtensionsAnswer:
    """What each of them says. Raises what an extension raises."""
    data: dict[str, bytes] = {}
    deltas: dict[str, Any] = {}
    news = False
    for name, extension in extensions.items():
        said = await extension.answer(params.extensions[name], context)
        if said.data is not None:
            data[name] = said.data
        if said.delta is not None:
            deltas[name] = said.delta
        news = news or said.news
    return ExtensionsAnswer(data, news, deltas)
