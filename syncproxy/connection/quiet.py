"""An answer with nothing new: while nothing happens, the same request gets the same one with the next `pos`."""

from __future__ import annotations

import attrs

from syncproxy.connection.built import Built
from syncproxy.protocol.dialect import Dialect
from syncproxy.protocol.request import Request

#: in bytes: longer answers, of lists with hundreds of rooms in their ranges, take their time anyway
MOST_BYTES = 16 * 1024


@attrs.frozen(eq=False)
class Quiet:
    """The newest answer, if it is a short one that told nothing and left the connection as it was."""

    request: Request
    dialect: Dialect
    built: Built

    def answers(self, request: Request, dialect: Dialect) -> bool:
        """Whether a request asks for the same, and does not wait for more."""
        return not request.timeout_ms and request.fingerprint == self.request.fingerprint and dialect is self.dialect
