"""Handing acknowledgements to the writer, without waiting for them."""

from __future__ import annotations

from twisted.logger import Logger

from syncproxy.storage.work import Work
from syncproxy.storage.writer import Writer

_log = Logger()


def acknowledge(writer: Writer, work: Work) -> None:
    """Have the writer do this in its next batch.

    A failure is logged and forgotten: what stays unacknowledged is sent again, never lost.
    """
    writer.do(work).addErrback(
        lambda failure: _log.failure("An acknowledgement was not stored: {kind}", failure, kind=type(work).__name__)
    )
