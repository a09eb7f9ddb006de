"""The load client against a server whose answers and delays are known."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.homeserver.http import Exchange, listen
from benchmarks.load.client import run
from benchmarks.load.connection import split_answer
from benchmarks.load.jobs import Done, FirstRequests, Hold, Job, Polls, Return, Session, Warm

PATH = "/sync"
BODY = '{"lists":{}}'
SESSIONS = [Session("a"), Session("b", "second")]


class Script:
    """Answers sync requests with a growing `pos`; keeps what was asked. `delay_s` tells how long the nth takes."""

    def __init__(self, delay_s: Callable[[int], float] = lambda index: 0.0, status: int = 200) -> None:
        self.asked: list[Exchange] = []
        self.status = status
        self._delay_s = delay_s

    def serve(self, exchange: Exchange) -> None:
        self.asked.append(exchange)
        index = len(self.asked)
        body = json.dumps({"pos": f"p{index}", "timeline": [{"event_id": f"$e{index}"}]}).encode()
        asyncio.get_running_loop().call_later(self._delay_s(index - 1), lambda: exchange.reply(self.status, body))

    def queries(self, token: str) -> list[str]:
        return [exchange.query for exchange in self.asked if exchange.token == token]


class JobTests(SynchronousTestCase):
    """`run`, for each kind of job."""

    def done(self, script: Script, job: Callable[[int], Job], holding: Callable[[], None] = lambda: None) -> Done:
        """Do a job on a server that follows the script."""

        async def work() -> Done:
            server = await listen(script.serve, 0)
            try:
                return await asyncio.wait_for(run(job(server.sockets[0].getsockname()[1]), holding), 20)
            finally:
                server.close()

        return asyncio.run(work())

    def test_warm(self) -> None:
        """Each session asks once, with its token and its `conn_id`."""
        script = Script()
        done = self.done(script, lambda port: Warm(port=port, path=PATH, sessions=SESSIONS, body=BODY))
        self.assertEqual(["a", "b"], [exchange.token for exchange in script.asked])
        bodies = [json.loads(exchange.body) for exchange in script.asked]
        self.assertEqual([{"lists": {}}, {"lists": {}, "conn_id": "second"}], bodies)
        self.assertEqual((2, {}), (len(done.latencies_ns), done.problems))

    def test_first_requests(self) -> None:
        """Requests without `pos`, in turn, at the rate."""
        script = Script()
        done = self.done(
            script,
            lambda port: FirstRequests(port=port, path=PATH, sessions=SESSIONS, body=BODY, rate=100, count=10),
        )
        # in which order they come where the machine is busy, nobody can say
        self.assertEqual(["a"] * 5 + ["b"] * 5, sorted(exchange.token or "" for exchange in script.asked))
        self.assertEqual({"timeout=0"}, {exchange.query for exchange in script.asked})
        self.assertEqual(10, len(done.latencies_ns))
        self.assertGreaterEqual(done.seconds, 0.09)

    def test_no_coordinated_omission(self) -> None:
        """One answer that takes long makes those late that were due meanwhile: their wait counts."""
        script = Script(lambda index: 0.2 if index == 0 else 0.0)
        done = self.done(
            script,
            lambda port: FirstRequests(port=port, path=PATH, sessions=SESSIONS[:1], body=BODY, rate=100, count=15),
        )
        self.assertGreaterEqual(sum(latency > 50_000_000 for latency in done.latencies_ns), 13)

    def test_polls(self) -> None:
        """Each session asks with the `pos` of its last answer; what precedes the measurement is not counted."""
        script = Script()
        begun: list[int] = []
        done = self.done(
            script,
            lambda port: Polls(port=port, path=PATH, sessions=SESSIONS, body=BODY, later_body='{"x":1}', seconds=0.1),
            lambda: begun.append(len(script.asked)),
        )
        self.assertEqual([6], begun)
        self.assertEqual(["timeout=0", "timeout=0&pos=p1", "timeout=0&pos=p2"], script.queries("a")[:3])
        self.assertEqual({"x": 1}, json.loads(script.asked[1].body))
        self.assertEqual(len(script.asked) - 6, len(done.latencies_ns))
        self.assertEqual(len(done.due_ns), len(done.latencies_ns))

    def test_hold(self) -> None:
        """Sessions hold requests; each event counts when a session first gets it."""
        script = Script(lambda index: 0.01 if index < 4 else 1.0 if index < 6 else 30.0)
        held: list[int] = []
        done = self.done(
            script,
            lambda port: Hold(port=port, path=PATH, sessions=SESSIONS, body=BODY, later_body='{"x":1}', seconds=1.5),
            lambda: held.append(len(script.asked)),
        )
        self.assertEqual([6], held)
        self.assertEqual(["$e5", "$e6"], sorted(arrival.event_id for arrival in done.arrivals))
        self.assertIn("timeout=30000&pos=p2", script.queries("a"))

    def test_return(self) -> None:
        """Sessions are away for a while; only what they ask when they are back is measured."""
        script = Script(lambda index: 0.05 if index < 4 else 0.0)
        away: list[int] = []
        done = self.done(
            script,
            lambda port: Return(
                port=port, path=PATH, sessions=SESSIONS, body=BODY, later_body='{"x":1}', seconds=0.1, rate=50
            ),
            lambda: away.append(len(script.asked)),
        )
        self.assertEqual([4], away)
        self.assertEqual(["timeout=0", "timeout=0&pos=p1", "timeout=0&pos=p2"], script.queries("a"))
        self.assertEqual(2, len(done.latencies_ns))
        self.assertLess(max(done.latencies_ns), 40_000_000)

    def test_problems(self) -> None:
        """Answers that are errors are counted apart from latencies; a session that only gets these gives up."""
        script = Script(status=403)
        done = self.done(
            script,
            lambda port: Polls(port=port, path=PATH, sessions=SESSIONS, body=BODY, later_body='{"x":1}', seconds=5),
        )
        self.assertEqual([], done.latencies_ns)
        self.assertEqual(["status 403"], list(done.problems))


class SplitTests(SynchronousTestCase):
    """`split_answer`."""

    def test_length(self) -> None:
        """A body has the length that its header says, and is incomplete before that."""
        whole = b"HTTP/1.1 200 OK\r\ncontent-Length: 4\r\nX: y\r\n\r\nbody"
        self.assertEqual((200, b"body"), split_answer(whole))
        for end in range(len(whole)):
            self.assertIsNone(split_answer(whole[:end]))

    def test_chunks(self) -> None:
        """A body may come in chunks, as Go sends it."""
        whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2;x=y\r\ndy\r\n0\r\n\r\n"
        self.assertEqual((200, b"body"), split_answer(whole))
        for end in range(len(whole)):
            self.assertIsNone(split_answer(whole[:end]))

    def test_no_length(self) -> None:
        """What has no length is refused."""
        self.assertRaises(ValueError, split_answer, b"HTTP/1.1 200 OK\r\n\r\n")
