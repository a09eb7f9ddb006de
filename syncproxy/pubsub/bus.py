"""The Bus: from the writer to the dispatcher. Local: the seam where several processes would be joined."""

from __future__ import annotations

from collections.abc import Callable

from syncproxy.pubsub.payloads import Payload

Receiver = Callable[[Payload], None]


class Bus:
    """Hands each payload to every receiver, in order, in the turn in which it was published."""

    def __init__(self) -> None:
        self._receivers: list[Receiver] = []

    def subscribe(self, receiver: Receiver) -> None:
        """Call `receiver` with every payload published from now on. It must not raise."""
        self._receivers.append(receiver)

    def publish(self, payload: Payload) -> None:
        """Give `payload` to all receivers before returning."""
        for receiver in self._receivers:
            receiver(payload)
