"""Simplified sliding sync as today's clients speak it: MSC4186's unstable dialect (spec/msc4186.md)."""

from __future__ import annotations

import attrs

from syncproxy.dialects.msc4186_answer import Words
from syncproxy.dialects.msc4186_dialect import SimplifiedDialect
from syncproxy.dialects.msc4186_request import Spelling
from syncproxy.dialects.msc4186_semantics import SIMPLIFIED

#: the dialect of Element X, matrix-js-sdk and matrix-rust-sdk
MSC4186_UNSTABLE = SimplifiedDialect(
    attrs.evolve(SIMPLIFIED, keeps_subscriptions_without_conn_id=True),
    # its clients start over, or give up, on any 400: what can be made sense of is
    Spelling(strict=False, all_in_body=False, most_subscriptions=1000),
    Words(
        expanded="unstable_expanded_timeline",
        stripped_state=b"invite_state",
        ops=True,
        unread_counts=True,
        more_of_rooms=False,
        null_names=False,
    ),
)
