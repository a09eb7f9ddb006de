"""Requests made from docs/reference/openapi.yaml, before the real service: answers as described, no harm done."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode

import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.threads import deferToThread

from tests.integration.client import SYNC_PATH
from tests.integration.harness import ALICE, ALL, BOB, ProxyCase
from tests.web.document import answer_problems, bad_requests, document, good_requests

_FUZZ = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
Json = dict[str, Any]


class Blocking:
    """A connection of a client that waits for each answer; for use in a thread."""

    def __init__(self, port: int, token: str, conn_id: str) -> None:
        self._http = HTTPConnection("127.0.0.1", port, timeout=30)
        self._headers = {"Authorization": f"Bearer {token}"}
        self._conn_id = conn_id
        self.pos = ""

    def begin(self) -> None:
        """Start the connection anew, with a list of all rooms."""
        self.pos = ""
        self.ask({"lists": {"all": ALL}})

    def ask(self, body: Json) -> Json:
        """A good request; the answer without its `pos`."""
        status, answer = self.send(json.dumps({"conn_id": self._conn_id, **body}).encode(), {"pos": self.pos})
        assert status == 200, answer
        self.pos = answer.pop("pos")
        rest: Json = answer
        return rest

    def send(self, body: bytes, query: dict[str, str]) -> tuple[int, Any]:
        """Any request; status and answer. AssertionError if the document does not describe that."""
        path = f"{SYNC_PATH}?{urlencode({'timeout': '0', **query})}"
        self._http.request("POST", path, body, self._headers)
        response = self._http.getresponse()
        answer = json.loads(response.read())
        operation = document()["paths"][SYNC_PATH]["post"]
        found = answer_problems(operation, response.status, response.getheader("Content-Type"), answer)
        assert not found, (found, body[:500])
        assert response.status < 500, answer
        return response.status, answer

    def close(self) -> None:
        """Hang up."""
        self._http.close()


class FuzzCase(ProxyCase):
    """Alice has rooms, and two connections: one that is fuzzed, and one that is not."""

    timeout = 120

    async def setUp(self) -> None:  # type: ignore[override]
        """Make the rooms, and wait until she has them."""
        await super().setUp()
        for number in range(3):
            self.hs.create_room(ALICE, name=f"Room {number}", members=[BOB])
        self.token = self.hs.login(ALICE, "ALICE1")
        client = self.client(ALICE)
        await client.until(
            lambda: client.order("all").count(None) == 0 and client.lists["all"].count == 3, lists={"all": ALL}
        )
        self.fuzzed, self.spared = (Blocking(self.proxy.port, self.token, name) for name in ("fuzzed", "spared"))
        self.addCleanup(self.fuzzed.close)
        self.addCleanup(self.spared.close)

    def in_thread(self, fuzz: Callable[[], None]) -> Deferred[None]:
        """Run it where it may block: the service has the reactor."""

        def run() -> None:
            self.begin()
            fuzz()

        return deferToThread(run)

    def begin(self) -> None:
        """Both connections start anew."""
        for one in (self.fuzzed, self.spared):
            one.begin()

    def unharmed(self, turn: int) -> None:
        """Good requests are answered alike on both, and as they should be: the list's window closes or opens."""
        last = turn % 3
        body = {"lists": {"all": {"ranges": [[0, last]]}}, "txn_id": str(turn)}
        one, other = (connection.ask(body) for connection in (self.fuzzed, self.spared))
        self.assertEqual(one, other)
        self.assertEqual((str(turn), 3), (one["txn_id"], one["lists"]["all"]["count"]))


class DocumentTests(FuzzCase):
    """Bodies as the document describes them, and others."""

    async def test_what_fits(self) -> None:
        """A request that fits is answered with 200, whatever it asks for, and so is the next one."""

        @settings(_FUZZ, max_examples=80)
        @given(good_requests())
        def fuzz(body: Json) -> None:
            self.fuzzed.begin()
            status, answer = self.fuzzed.send(
                json.dumps({**body, "conn_id": "fuzzed"}).encode(), {"pos": self.fuzzed.pos}
            )
            self.assertEqual(200, status, answer)
            self.fuzzed.pos = answer["pos"]
            self.fuzzed.ask({})

        await self.in_thread(fuzz)

    async def test_what_does_not_fit(self) -> None:
        """A request that is refused changes nothing: the next answer is what it would have been."""
        turns = iter(range(10_000))

        @settings(_FUZZ, max_examples=100)
        @given(bad_requests(), st.booleans())
        def fuzz(body: Any, is_sent_as_it_is: bool) -> None:
            if isinstance(body, dict):
                body = {**body, "conn_id": "fuzzed"}
            status, _ = self.fuzzed.send(json.dumps(body).encode(), {"pos": self.fuzzed.pos})
            if status == 200:
                self.begin()
            self.unharmed(next(turns))

        await self.in_thread(fuzz)

    async def test_any_bytes_and_queries(self) -> None:
        """So is one whose body is no JSON, or whose query is nonsense."""
        turns = iter(range(10_000))
        texts = st.text(max_size=20) | st.sampled_from(["-1", "1e3", "0-1", "x" * 5000])

        @settings(_FUZZ, max_examples=80)
        @given(st.binary(min_size=1, max_size=60), texts.filter(bool), st.booleans())
        def fuzz(body: bytes, text: str, in_pos: bool) -> None:
            self.fuzzed.send(b"{" + body, {"pos": self.fuzzed.pos})
            self.unharmed(next(turns))
            query = {"pos": text} if in_pos else {"pos": self.fuzzed.pos, "timeout": text + "x"}
            status, _ = self.fuzzed.send(b'{"conn_id":"fuzzed"}', query)
            self.assertEqual(400, status)
            self.unharmed(next(turns))

        await self.in_thread(fuzz)


class CrowdTests(FuzzCase):
    """A client that does not wait for its answers."""

    async def test_one_connection(self) -> None:
        """Two hundred requests at one position: the first is answered, sixteen wait, and it can start anew."""
        client = self.client(ALICE)
        await client.sync(lists={"all": ALL})
        sent = [Deferred.fromCoroutine(client.post({"txn_id": str(number)})) for number in range(200)]
        answers: list[tuple[bool, Any]] = await DeferredList(sent, consumeErrors=True)
        refusals = [answer.value for is_good, answer in answers if not is_good]
        self.assertEqual({"M_UNKNOWN_POS"}, {refusal.errcode for refusal in refusals})
        self.assertEqual(200 - 1 - 16, len(refusals))
        self.assertEqual(1, len({answer for is_good, answer in answers if is_good}))
        client.pos = None
        await client.sync(lists={"all": ALL})


class SchemathesisTests(FuzzCase):
    """What schemathesis makes of the document."""

    async def test_all_operations(self) -> None:
        """Good and bad requests to each path get answers as described, never a fault, and do no harm."""
        # without types, so that mypy says the same where schemathesis is not installed
        schema: Any = schemathesis.openapi.from_dict(document())
        turns = iter(range(10_000))
        checked = [
            not_a_server_error,
            checks.status_code_conformance,
            checks.content_type_conformance,
            checks.response_headers_conformance,
            checks.response_schema_conformance,
        ]
        operations = [result.ok() for result in schema.get_all_operations()]
        self.assertEqual(6, len(operations))

        def fuzz_one(operation: Any, mode: Any) -> None:
            @settings(_FUZZ, max_examples=30)
            @given(operation.as_strategy(generation_mode=mode))
            def fuzz(case: Any) -> None:
                if case.query:
                    case.query = {**case.query, "timeout": "0"}
                case.call_and_validate(
                    base_url=self.proxy.url, headers={"Authorization": f"Bearer {self.token}"}, checks=checked
                )
                self.unharmed(next(turns))

            fuzz()

        def fuzz_all() -> None:
            for operation in operations:
                fuzz_one(operation, schemathesis.GenerationMode.POSITIVE)
                # what takes no parameters cannot be asked wrongly
                if operation.method == "post":
                    fuzz_one(operation, schemathesis.GenerationMode.NEGATIVE)

        await self.in_thread(fuzz_all)
