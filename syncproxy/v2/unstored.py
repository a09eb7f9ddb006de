"""An answer that the database did not take: it is handed over again, the homeserver need not answer twice."""

from __future__ import annotations

from syncproxy.homeserver.bodies import Body
from syncproxy.v2.question import Question

#: how often; after that the homeserver is asked again, so that what never can be stored is not kept for ever
_TIMES = 2


class Unstored:
    """Keeps one answer at a time."""

    def __init__(self) -> None:
        #: the question whose answer is kept
        self.question: Question | None = None
        self._body: Body | None = None
        self._times = 0

    def keep(self, question: Question, body: Body) -> None:
        """It could not be stored."""
        self._times += 1
        if self._times <= _TIMES:
            self.question, self._body = question, body
        else:
            self.clear()

    def take(self) -> Body | None:
        """The answer to hand over now, if one is kept."""
        body, self.question, self._body = self._body, None, None
        return body

    def clear(self) -> None:
        """An answer was stored, or is not wanted any more."""
        self.question = self._body = None
        self._times = 0
