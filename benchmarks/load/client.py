"""The jobs, done. Times are those of the client; what waits for its turn counts from when it was due."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic_ns

import attrs

from benchmarks.load.connection import Answer, Broken, Connection
from benchmarks.load.jobs import Arrival, Done, FirstRequests, Hold, Job, Polls, Return, Session, Warm

_POS = re.compile(rb'"pos"\s*:\s*"([^"]+)"')
_EVENT_ID = re.compile(rb'"event_id"\s*:\s*"([^"]+)"')
_LIMITED = re.compile(rb'"limited"\s*:\s*true')
_WARM_TRIES = 30
#: problems in a row after which a session gives up
_ENOUGH = 5


@attrs.define
class Tally:
    """What a job has seen."""

    started_ns: int = attrs.field(factory=monotonic_ns)
    latencies_ns: list[int] = attrs.field(factory=list)
    due_ns: list[int] = attrs.field(factory=list)
    problems: Counter[str] = attrs.field(factory=Counter)
    answered_bytes: int = 0
    sample: bytes = b""
    late_ns: int = 0
    arrivals: list[Arrival] = attrs.field(factory=list)

    def saw(self, answer: Answer, due_ns: int) -> None:
        """Count a good answer."""
        self.latencies_ns.append(answer.last_ns - due_ns)
        self.due_ns.append(due_ns)
        self.answered_bytes += len(answer.body)
        self.sample = answer.body

    def done(self) -> Done:
        """The job's result, now."""
        return Done(
            seconds=(monotonic_ns() - self.started_ns) / 1e9,
            latencies_ns=self.latencies_ns,
            due_ns=self.due_ns,
            problems=dict(self.problems),
            answered_bytes=self.answered_bytes,
            sample=self.sample.decode(),
            late_ns=self.late_ns,
            arrivals=self.arrivals,
        )


class Client:
    """One session on a connection of its own: knows its `pos`."""

    def __init__(self, job: Job, session: Session, tally: Tally) -> None:
        self._job = job
        self._tally = tally
        self._connection = Connection(job.host, job.port)
        self._headers = (
            f" HTTP/1.1\r\nHost: {job.host}\r\nAuthorization: Bearer {session.token}\r\n"
            "Content-Type: application/json\r\n"
        ).encode()
        self._conn_id = session.conn_id
        self.pos: str | None = None
        self.failures = 0

    async def first(self, due_ns: int | None = None, *, timeout_ms: int = 0) -> Answer | None:
        """A request without `pos`; `None` if it was not answered well."""
        self.pos = None
        return await self._ask(self._job.body, due_ns, timeout_ms)

    async def next(self, body: str, due_ns: int | None = None, *, timeout_ms: int = 0) -> Answer | None:
        """The request that follows; `None` if it was not answered well."""
        return await self._ask(body, due_ns, timeout_ms)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    async def _ask(self, body: str, due_ns: int | None, timeout_ms: int) -> Answer | None:
        query = f"?timeout={timeout_ms}" + (f"&pos={self.pos}" if self.pos else "")
        if self._conn_id:
            body = f'{{"conn_id":"{self._conn_id}",{body[1:]}'
        head = f"POST {self._job.path}{query}".encode() + self._headers
        try:
            answer = await self._connection.request(head, body.encode())
        except (Broken, OSError, TimeoutError) as problem:
            self._failed(type(problem).__name__)
            return None
        found = _POS.search(answer.body)
        if answer.status != 200 or found is None:
            self._failed(f"status {answer.status}")
            return None
        self.pos = found[1].decode()
        self.failures = 0
        self._tally.saw(answer, due_ns or answer.asked_ns)
        return answer

    def _failed(self, kind: str) -> None:
        self._tally.problems[kind] += 1
        self.failures += 1


async def run(job: Job, holding: Callable[[], None] = lambda: None) -> Done:
    """Do a job. `holding` is called when its sessions are in place, or all of a `Return` away: not for all jobs."""
    tally = Tally()
    clients = [Client(job, session, tally) for session in job.sessions]
    try:
        match job:
            case Warm():
                await _warm(job, clients)
            case FirstRequests():
                due = (index / job.rate for index in range(job.count))
                await _paced(clients, due, tally, lambda client, due_ns: client.first(due_ns))
            case Polls():
                await _polls(job, clients, tally, holding)
            case Hold():
                await _hold(job, clients, tally, holding)
            case Return():
                await _return(job, clients, tally, holding)
        return tally.done()
    finally:
        for client in clients:
            client.close()


async def _warm(job: Warm, clients: list[Client]) -> None:
    gate = asyncio.Semaphore(job.at_a_time)

    async def warm(client: Client) -> None:
        async with gate:
            for _ in range(_WARM_TRIES):
                if await client.first() is not None:
                    return
                await asyncio.sleep(1)

    await asyncio.gather(*map(warm, clients))


async def _polls(job: Polls, clients: list[Client], tally: Tally, holding: Callable[[], None]) -> None:
    for client in clients:
        await client.first()
        # what came with the first answer, and what it set off, is behind us
        await client.next(job.later_body)
        await client.next(job.later_body)
    holding()
    # whoever was told looks at what the server took until now
    await asyncio.sleep(0.5)
    _begin(tally)
    if job.rate is not None:
        due = (index / job.rate for index in range(int(job.rate * job.seconds)))
        await _paced(clients, due, tally, lambda client, due_ns: client.next(job.later_body, due_ns))
        return
    end_ns = tally.started_ns + job.seconds * 1e9

    async def again(client: Client) -> None:
        while monotonic_ns() < end_ns and client.failures < _ENOUGH:
            await client.next(job.later_body)

    await asyncio.gather(*map(again, clients))


async def _hold(job: Hold, clients: list[Client], tally: Tally, holding: Callable[[], None]) -> None:
    for client in clients:
        await client.first()
        await client.next(job.later_body)
    _begin(tally)

    async def hold(index: int, client: Client) -> None:
        known: set[bytes] = set()
        while client.failures < _ENOUGH:
            answer = await client.next(job.later_body, timeout_ms=job.timeout_ms)
            if answer is None:
                continue
            limited = _LIMITED.search(answer.body) is not None
            for event_id in _EVENT_ID.findall(answer.body):
                if event_id not in known:
                    known.add(event_id)
                    tally.arrivals.append(Arrival(index, event_id.decode(), answer.first_ns, limited))

    tasks = [asyncio.ensure_future(hold(index, client)) for index, client in enumerate(clients)]
    # the requests are out; give them the time to be held
    await asyncio.sleep(0.5)
    holding()
    await asyncio.sleep(job.seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _return(job: Return, clients: list[Client], tally: Tally, holding: Callable[[], None]) -> None:
    for client in clients:
        await client.first()
        await client.next(job.later_body)
    holding()
    await asyncio.sleep(job.seconds)
    _begin(tally)
    due = (index / job.rate for index in range(len(clients)))
    await _paced(clients, due, tally, lambda client, due_ns: client.next(job.later_body, due_ns))


def _begin(tally: Tally) -> None:
    """Count from here."""
    tally.started_ns = monotonic_ns()
    tally.latencies_ns.clear()
    tally.due_ns.clear()
    tally.answered_bytes = 0


async def _paced(
    clients: list[Client],
    due_s: Iterable[float],
    tally: Tally,
    ask: Callable[[Client, int], Awaitable[Answer | None]],
) -> None:
    """Requests at their times, each client in its turn; one that is still busy asks late, and the wait counts."""
    queues: list[asyncio.Queue[int | None]] = [asyncio.Queue() for _ in clients]

    async def serve(client: Client, queue: asyncio.Queue[int | None]) -> None:
        while (due_ns := await queue.get()) is not None:
            await ask(client, due_ns)

    tasks = [asyncio.ensure_future(serve(client, queue)) for client, queue in zip(clients, queues, strict=True)]
    started_ns = monotonic_ns()
    for index, due in enumerate(due_s):
        due_ns = started_ns + int(due * 1e9)
        await asyncio.sleep(max(0.0, (due_ns - monotonic_ns()) / 1e9))
        # nothing but this client's own timer and work can have held it until now: that is not the server's latency
        now_ns = monotonic_ns()
        tally.late_ns = max(tally.late_ns, now_ns - due_ns)
        queues[index % len(queues)].put_nowait(now_ns)
    for queue in queues:
        queue.put_nowait(None)
    await asyncio.gather(*tasks)
