"""A small MSC4186 client: nothing is sticky, so it sends all of its body each time; it keeps `pos` and the rooms."""

from __future__ import annotations

import json
from typing import Any

import treq
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent

from tests.integration.client import Json, PatientClient, SyncError

UNSTABLE = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
STABLE = "/_matrix/client/v4/sync"
#: a list with all rooms of a small test
ALL: Json = {"ranges": [[0, 19]], "timeline_limit": 5, "required_state": [["*", "*"]]}
V4_ALL: Json = {"range": [0, 19], "timeline_limit": 5, "required_state": {"include": [{}]}}


class SimplifiedClient(PatientClient):
    """One connection, on the unstable path unless said otherwise."""

    def __init__(self, agent: IAgent, url: str, token: str, reactor: Any, *, path: str = UNSTABLE, **body: Any) -> None:
        """`body` goes out with each request, until `said` is changed."""
        super().__init__(agent, reactor)
        self._url = url
        self._token = token
        self._path = path
        self.said: Json = body

    async def sync(self, timeout: int = 0, **body: Any) -> Json:
        """Make a request, take in the answer and return it; SyncError for one that is an error."""
        self.said = {**self.said, **body}
        answer = await self.ask(timeout)
        self.take(answer)
        return answer

    async def ask(self, timeout: int = 0) -> Json:
        """Make a request; its answer, which the client never sees."""
        params = {"timeout": str(timeout)}
        body = dict(self.said)
        if self.pos is not None:
            params["pos"] = self.pos
        if self._path == STABLE:
            body, params = {**body, **params, "timeout": timeout}, {}
        answer = await treq.request(
            "POST", self._url + self._path, agent=self._agent, params=params, data=json.dumps(body).encode(),
            headers=Headers({"Authorization": [f"Bearer {self._token}"]}),
        )  # fmt: skip
        content: Json = json.loads(await treq.content(answer))
        if answer.code != 200:
            raise SyncError(answer.code, content)
        return content

    def take(self, answer: Json) -> None:
        """Take in an answer."""
        self.answers.append(answer)
        self.pos = answer["pos"]
        for room_id, room in answer["rooms"].items():
            view = self.room(room_id)
            if room.get("limited") and not room.get("initial"):
                view.timeline = []
            view.update(room)

    def order(self, key: str) -> list[str]:
        """The rooms in the first range of a list, as the newest answer had it."""
        found: list[str] = self.answers[-1]["lists"][key]["ops"][0]["room_ids"]
        return found
