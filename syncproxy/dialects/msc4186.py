"""Simplified sliding sync as it was accepted: MSC4186's stable dialect, `/v4/sync` (spec/msc4186.md)."""

from __future__ import annotations

import attrs

from syncproxy.dialects.msc4186_answer import Words
from syncproxy.dialects.msc4186_dialect import SimplifiedDialect
from syncproxy.dialects.msc4186_request import Spelling
from syncproxy.dialects.msc4186_semantics import SIMPLIFIED

#: the dialect of the Client-Server API's fourth `/sync`
MSC4186 = SimplifiedDialect(
    attrs.evolve(SIMPLIFIED, tells_ended_state=True),
    Spelling(strict=True, all_in_body=True, most_subscriptions=100),
    Words(
        expanded="expanded_timeline",
        stripped_state=b"stripped_state",
        ops=False,
        unread_counts=False,
        more_of_rooms=True,
        null_names=True,
    ),
)
