"""What the runner asks of the load client, and what it gets back: one JSON line each."""

from __future__ import annotations

import msgspec


class Session(msgspec.Struct, frozen=True):
    """A client: its token, and the `conn_id` that its requests carry ("": none)."""

    token: str
    conn_id: str = ""


class Job(msgspec.Struct, tag=True, kw_only=True):
    """Where to, who, and with which body (JSON text, without `conn_id`)."""

    port: int
    path: str
    sessions: list[Session]
    body: str
    host: str = "127.0.0.1"


class Warm(Job, kw_only=True):
    """Each session asks once, without `pos`, `at_a_time` of them side by side; 503 is tried again."""

    at_a_time: int = 4


class FirstRequests(Job, kw_only=True):
    """`count` requests without `pos`, `rate` a second, each session in its turn: latency from when it was due."""

    rate: float
    count: int


class Polls(Job, kw_only=True):
    """Requests with an advancing `pos` and `timeout=0`, for `seconds`.

    With a `rate` they are due at it, each session in its turn, and latency counts from then; without, each session asks
    again as soon as it was answered. When all sessions have begun, the client says so with a `Holding` line, and rests
    for 0.5 s.
    """

    seconds: float
    rate: float | None = None
    later_body: str


class Hold(Job, kw_only=True):
    """Each session holds a request, and asks again as soon as it was answered, for `seconds`.

    When all have a request that is held, the client says so with a `Holding` line.
    """

    seconds: float
    later_body: str
    timeout_ms: int = 30_000


class Return(Job, kw_only=True):
    """Each session asks twice, is away for `seconds`, and asks again: latencies are those of what it asks then.

    They come back one after the other, `rate` a second. When all are away, the client says so with a `Holding` line.
    """

    seconds: float
    rate: float
    later_body: str


class Holding(msgspec.Struct, tag=True):
    """All sessions of a `Hold` or of `Polls` are in place, or all of a `Return` are away."""


class Arrival(msgspec.Struct, array_like=True):
    """The first byte of the answer in which a session first got an event.

    `limited`: the answer says that there is more in a room than it brings: the client asks for so many events.
    """

    session: int
    event_id: str
    first_ns: int
    limited: bool = False


class Done(msgspec.Struct, tag=True, kw_only=True):
    """How a job went. `latencies_ns`: one for each answer with status 200; `problems` counts the others by kind.

    `due_ns` is when each of these was due, or asked for; `sample` is the last answer's body; `late_ns` how late, at
    worst, the client itself came to a request that was due.
    """

    seconds: float
    latencies_ns: list[int]
    due_ns: list[int] = []
    problems: dict[str, int]
    answered_bytes: int = 0
    sample: str = ""
    late_ns: int = 0
    arrivals: list[Arrival] = []
