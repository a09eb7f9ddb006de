"""`python -m benchmarks.relay --port N --homeserver URL`: the floor of what is live.

A poller for each token on treq, a Klein resource that holds requests, and nothing in between: an answer of `/sync` goes
to the client as it came. What a proxy takes more than that is what it does.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict, deque
from typing import Any

import treq
from klein import Klein
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.web.client import Agent, HTTPConnectionPool

from benchmarks.floor import quiet_site
from benchmarks.requests import MSC3575_PATH, MSC4186_PATH

_NEXT_BATCH = re.compile(rb'"next_batch":"([^"]+)"')
_FILTER = '{"room":{"timeline":{"limit":1},"state":{"lazy_load_members":true}}}'
reactor: Any = installed


class Listener:
    """A client of a device, and what it was not told yet."""

    def __init__(self) -> None:
        self._news: deque[bytes] = deque(maxlen=50)
        self._waiting: Deferred[None] | None = None
        self._answers = 0

    def tell(self, body: bytes) -> None:
        """This is new."""
        self._news.append(body)
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)

    async def answer(self, timeout_s: float) -> bytes:
        """All that came since the last answer; waits for something if there is nothing."""
        if not self._news and timeout_s:
            self._waiting = Deferred()
            self._waiting.addTimeout(timeout_s, reactor, onTimeoutCancel=lambda result, timeout: None)
            await self._waiting
        self._answers += 1
        news = b",".join(self._news)
        self._news.clear()
        return b'{"pos":"%d","news":[%b]}' % (self._answers, news)


class Device:
    """What one token's poller brings, for each of its clients."""

    def __init__(self, token: str, homeserver: str, client: treq.client.HTTPClient) -> None:
        self._token = token
        self._url = f"{homeserver}/_matrix/client/v3/sync"
        self._client = client
        #: by connection
        self.listeners: defaultdict[object, Listener] = defaultdict(Listener)
        self.polling = ensureDeferred(self._poll())

    async def _poll(self) -> None:
        since = ""
        while True:
            parameters = {"timeout": "30000", "filter": _FILTER, **({"since": since} if since else {})}
            headers: dict[bytes | str, bytes | str] = {"Authorization": f"Bearer {self._token}"}
            response = await self._client.get(self._url, params=parameters, headers=headers, unbuffered=True)
            body = await treq.content(response)
            found = _NEXT_BATCH.search(body)
            if found is None:
                raise ValueError("not an answer of /sync")
            # a first sync is no news
            if since:
                for listener in self.listeners.values():
                    listener.tell(body)
            since = found[1].decode()


def resource(homeserver: str) -> Any:
    """The resource; a token's poller starts with its first request."""
    pool = HTTPConnectionPool(reactor)
    pool.maxPersistentPerHost = 10_000
    client = treq.client.HTTPClient(Agent(reactor, pool=pool))
    devices: dict[str, Device] = {}
    app = Klein()

    @app.route(MSC3575_PATH, methods=["POST"])
    @app.route(MSC4186_PATH, methods=["POST"])
    async def sync(request: Any) -> bytes:
        token = request.getHeader("Authorization").removeprefix("Bearer ")
        if token not in devices:
            devices[token] = Device(token, homeserver, client)
        request.setHeader(b"Content-Type", b"application/json")
        listener = devices[token].listeners[request.channel]
        return await listener.answer(int(request.args[b"timeout"][0]) / 1000)

    return app.resource()


def main() -> None:
    """Read the command line and serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="benchmarks.relay", description="What a live answer costs at least.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--homeserver", required=True)
    options = parser.parse_args()
    endpoint = TCP4ServerEndpoint(reactor, options.port, interface="127.0.0.1")
    endpoint.listen(quiet_site(resource(options.homeserver)))
    reactor.run()


if __name__ == "__main__":
    main()
