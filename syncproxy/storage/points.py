"""Named points on an answer's way into the database, at which a test may kill the process or cut its connection."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum


class Point(Enum):
    """What has just happened. Those within a transaction are the database's own: it is sent as one text."""

    #: the handler has the answer's bytes, and nothing else happened yet
    ANSWER_RECEIVED = "answer received"
    #: the handler is about to hand the answer to the writer
    ANSWER_READ = "answer read"
    #: the writer has taken a batch, and has not asked the database anything yet
    BATCH_TAKEN = "batch taken"
    #: the text of the transaction is made, and not sent
    BATCH_READY = "batch ready"
    #: COPY has sent a batch's many rows, and the rest of the transaction is not sent
    COPIED = "copied"
    #: COMMIT was answered, nobody knows of it
    COMMITTED = "committed"
    #: the caches were told, and who waits for the answers was not
    TOLD = "told"
    #: a slice was stored, others of the same answer wait
    SLICE_STORED = "slice stored"
    #: an answer was told that is not stored; its counts and receipts are not written
    REPEAT_TOLD = "repeat told"
    #: the answer is stored and told, the next request is not made yet
    ANSWER_STORED = "answer stored"


#: is called with each point that is reached
Observer = Callable[[Point], None]


def nobody(point: Point) -> None:
    """Observe nothing: what runs in production."""
