"""The lists of an answer: how each window moved on, as the request wants it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from syncproxy.caches.user_cache import UserCache
from syncproxy.connection.built import Prepared
from syncproxy.connection.params import Params
from syncproxy.connection.slices import kept_entries, sliced
from syncproxy.connection.windows import ListSources, ListWindow, advanced, list_spec
from syncproxy.protocol.response import ListAnswer


class ListsAnswer(msgspec.Struct, frozen=True, eq=False):
    """The windows as they are now, what is told of them, and whether that is reason enough to answer."""

    windows: Mapping[str, ListWindow]
    answers: Mapping[str, ListAnswer]
    news: bool


def lists_answer(
    prepared: Prepared,
    before: Mapping[str, ListWindow],
    known: Params,
    sources: ListSources,
    left: Collection[str],
    user: UserCache,
) -> ListsAnswer:
    """The lists as of now, after the windows `before`, which were asked for by the parameters `known`.

    `left` are the rooms that the client goes on having as rooms that the user left.
    """
    windows: dict[str, ListWindow] = {}
    answers: dict[str, ListAnswer] = {}
    news = False
    for key, config in prepared.params.lists.items():
        window = before.get(key)
        unchanged = window is not None and known.lists.get(key) is config
        spec = window.spec if window is not None and unchanged else list_spec(config, prepared.semantics.lists)
        source = sources.source(spec)
        if prepared.semantics.ops == "slices":
            step = sliced(window, config, spec, source, kept_entries(spec, source, left, user) if left else ())
        else:
            step = advanced(window, config, spec, source)
        windows[key], answers[key] = step.window, step.answer
        news |= step.news
    return ListsAnswer(windows, answers, news)
