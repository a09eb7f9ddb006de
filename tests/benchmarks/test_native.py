"""A real homeserver in the stand-in's place: what is asked of it."""

from __future__ import annotations

import json
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.bench import Identity, NotMeasured
from benchmarks.figures import Measurement, milliseconds
from benchmarks.homeserver.world import Group
from benchmarks.native import Native
from benchmarks.report import side_by_side

Json = dict[str, Any]


class Script:
    """A homeserver that says yes; keeps what was asked. `first` are answers that it gives before."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Json]] = []
        self.first: list[tuple[int, Json]] = []

    def paths(self) -> Counter[str]:
        """How often each kind of request came."""
        return Counter(path.rpartition("/v3/")[2].split("/")[0] or path for path, _ in self.asked)

    def answer(self, path: str, body: Json) -> tuple[int, Json]:
        """Status and body."""
        self.asked.append((path, body))
        number = len(self.asked)
        if self.first:
            return self.first.pop(0)
        user_id = f"@{body.get('username') or body.get('identifier', {}).get('user', '@x:y')[1:-2]}:y"
        login = {"user_id": user_id, "access_token": f"token{number}", "device_id": f"D{number}"}
        return 200, {"nonce": "n", "room_id": f"!{number}:y", "event_id": f"${number}", **login}


class NativeCase(SynchronousTestCase):
    """A server that follows the script."""

    def setUp(self) -> None:
        """Serve."""
        self.script = script = Script()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, answer = script.answer(self.path, json.loads(body or b"{}"))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            do_POST = do_PUT = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = Thread(target=self.server.serve_forever, args=(0.01,))
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)

    def native(self, secret: str | None = None) -> Native:
        """What makes users there."""
        return Native(f"http://127.0.0.1:{self.server.server_address[1]}", secret, "seed")


class NativeTests(NativeCase):
    """`Native`."""

    def test_a_circle(self) -> None:
        """Users who share their rooms are devices of one account, whose rooms have a message each."""
        users = self.native().add(Group("g", users=3, rooms=2, circle=3))
        self.assertEqual({"register": 1, "createRoom": 2, "rooms": 2, "login": 3}, self.script.paths())
        self.assertEqual(3, len({user.token for user in users}))
        self.assertEqual(3, len({user.user_id for user in users}))

    def test_rooms_are_made_once(self) -> None:
        """Another group in as many rooms gets the same account, and devices where it has more users."""
        native = self.native()
        before: list[Identity] = native.add(Group("one", users=1, rooms=2))
        after = native.add(Group("two", users=2, rooms=2, circle=2))
        self.assertEqual({"register": 1, "createRoom": 2, "rooms": 2, "login": 2}, self.script.paths())
        self.assertEqual(before[0].token, after[0].token)

    def test_by_secret(self) -> None:
        """With a secret Synapse's administrators register, with a MAC that is not the secret."""
        self.native("secret").add(Group("g", users=1, rooms=0))
        (asked, _), (path, fields), _ = self.script.asked
        self.assertEqual(("/_synapse/admin/v1/register",) * 2, (asked, path))
        self.assertEqual(("n", 40), (fields["nonce"], len(fields["mac"])))
        self.assertNotIn("secret", json.dumps(fields))

    def test_events(self) -> None:
        """Messages come at the rate, in the group's rooms, for its devices."""
        native = self.native()
        native.add(Group("more", users=3, rooms=1, circle=3))
        users = native.add(Group("g", users=2, rooms=1, circle=2))
        emitted = native.emit("g", 100.0, 0.1, even=True)
        self.assertTrue(9 <= len(emitted) <= 10, emitted)
        self.assertEqual([user.user_id for user in users], emitted[0].listeners)
        self.assertEqual(len(emitted), len({event.event_id for event in emitted}))

    def test_limited(self) -> None:
        """Where the rate is limited it asks again when it may."""
        self.script.first = [(429, {"retry_after_ms": 1})]
        self.assertEqual(1, len(self.native().add(Group("g", users=1, rooms=0))))

    def test_refused(self) -> None:
        """Where users may not register, the row is not measured."""
        self.script.first = [(403, {"errcode": "M_FORBIDDEN"})]
        self.assertRaises(NotMeasured, self.native().add, Group("g", users=1, rooms=0))

    def test_only_the_stand_in(self) -> None:
        """What only the stand-in can do is not measured."""
        self.assertRaises(NotMeasured, self.native().start_flood, "g")


class SideBySideTests(SynchronousTestCase):
    """`side_by_side`."""

    def one(self, what: str, ms: int, cpu_us: float) -> Measurement:
        """A measurement."""
        one = Measurement(row=1, what=what, values={"CPU a request, us": cpu_us})
        one.put("latency", milliseconds([ms * 1_000_000]))
        return one

    def test_multiples(self) -> None:
        """What both measured is told as a multiple of the homeserver's own; other things are not."""
        lines = list(side_by_side([self.one("a", 2, 100), self.one("b", 1, 1)], [self.one("a", 8, 400)]))
        self.assertEqual(" 1  a", lines[0])
        self.assertEqual("      p50 2 ms, 0.25 x the homeserver's own 8", lines[1])
        self.assertEqual("      CPU a request, us 100, 0.25 x the homeserver's own 400", lines[-1])
        self.assertEqual(4, len(lines))
