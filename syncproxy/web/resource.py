"""The web edge: which path is whose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import msgspec
from klein import Klein
from klein.resource import KleinResource
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from werkzeug.exceptions import BadHost, HTTPException, MethodNotAllowed

from syncproxy.connection.conn_map import ConnMap
from syncproxy.errors import MatrixError, MissingToken, NotReady, Unrecognized
from syncproxy.metrics import Metrics
from syncproxy.protocol.dialect import Dialect
from syncproxy.v2.poller_map import PollerMap
from syncproxy.v2.tokens import TokenMap
from syncproxy.web import responses
from syncproxy.web.answering import Answering
from syncproxy.web.authentication import access_token
from syncproxy.web.settings import WebSettings
from syncproxy.web.sync import SyncRequests
from syncproxy.web.versions import Versions

#: which dialect is spoken where
SYNC_PATHS = {
    "/_matrix/client/unstable/org.matrix.msc3575/sync": "msc3575",
    "/_matrix/client/v3/sync": "msc3575",
    "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync": "msc4186-unstable",
    "/_matrix/client/v4/sync": "msc4186",
}
VERSIONS_PATH = "/_matrix/client/versions"
#: the homeserver has this one, too, which is asked with GET there
_SHARED_PATH = "/_matrix/client/v3/sync"
#: paths under those that may be passed on, but are answered here; by which methods, `None`: by all
OWN_PATHS: Mapping[bytes, frozenset[bytes] | None] = {
    path.encode("ascii"): frozenset([b"POST"]) if path == _SHARED_PATH else None
    for path in (*SYNC_PATHS, VERSIONS_PATH)
}


class EdgeResource(KleinResource):
    """Klein's resource, for requests that are plain enough to be routed; sync requests are answered without it."""

    def __init__(self, app: Klein, sync: Callable[[Any], bytes | int | None]) -> None:
        """`sync` answers a sync request, or tells that its answer follows; `None`: it is none."""
        super().__init__(app)
        self._sync = sync

    def render(self, request: Any) -> Any:
        """Klein takes a tumble over paths that are no UTF-8 and hosts that are none; here that is no path of ours."""
        answered = self._sync(request)
        if answered is not None:
            return answered
        parts = (request.method, request.getRequestHostname(), *request.postpath)
        if all(part.isascii() for part in parts):
            with suppress(BadHost):
                return super().render(request)
        return responses.error(request, Unrecognized("No such path"))


def make_resource(
    tokens: TokenMap,
    pollers: PollerMap,
    conns: ConnMap,
    dialects: Mapping[str, Dialect],
    settings: WebSettings,
    metrics: Metrics,
    clock: IReactorTime,
    health: Callable[[], bool],
    versions: Versions,
) -> KleinResource:
    """The root resource; `dialects` by the names in `SYNC_PATHS`, `health` says whether requests can be served."""
    app = Klein()
    requests = SyncRequests(tokens, pollers, conns, metrics, clock)
    answering = Answering(requests, settings, metrics, clock)
    _route_versions(app, versions)
    _route_health(app, health)
    _route_client_configuration(app, settings.public_homeserver)
    app.handle_errors(HTTPException)(_no_such_route)
    return EdgeResource(app, _sync(dialects, answering))


def _sync(dialects: Mapping[str, Dialect], answering: Answering) -> Callable[[Any], bytes | int | None]:
    """What answers requests for the paths of sliding sync."""
    spoken = {path.encode("ascii"): dialects[name] for path, name in SYNC_PATHS.items() if name in dialects}

    def sync(request: Any) -> bytes | int | None:
        dialect = spoken.get(b"/" + b"/".join(request.postpath))
        if dialect is None or request.method == b"OPTIONS":
            return None
        return answering.answer(request, dialect) if request.method == b"POST" else _no_such_method(request, b"POST")

    return sync


def _route_versions(app: Klein, versions: Versions) -> None:
    @app.route(VERSIONS_PATH, methods=["GET"], endpoint="versions")
    async def answer_versions(request: IRequest) -> bytes:
        try:
            token = access_token(request)
        except MissingToken:
            token = None
        try:
            return responses.plain(request, await versions.answer(token))
        except MatrixError as problem:
            return responses.error(request, problem)


def _route_health(app: Klein, health: Callable[[], bool]) -> None:
    @app.route("/health", methods=["GET"], endpoint="health")
    def answer_health(request: IRequest) -> bytes:
        if health():
            return responses.plain(request, b"{}")
        return responses.error(request, NotReady("Not ready to serve", retry_after_s=5))


def _route_client_configuration(app: Klein, public_homeserver: str | None) -> None:
    """matrix-react-sdk asks a proxy for this to learn which homeserver it serves."""
    if public_homeserver is None:
        return
    body = msgspec.json.encode({"server": public_homeserver})

    @app.route("/client/server.json", methods=["GET"], endpoint="client configuration")
    def answer_client_configuration(request: IRequest) -> bytes:
        return responses.plain(request, body)


def _no_such_route(request: IRequest, failure: Failure) -> bytes:
    """OPTIONS is answered on every path, for browsers ask before they send; anything else is not known here."""
    if request.method == b"OPTIONS":
        return responses.plain(request, b"{}")
    if isinstance(failure.value, MethodNotAllowed):
        return _no_such_method(request, ", ".join(sorted(failure.value.valid_methods or ())).encode("ascii"))
    return responses.error(request, Unrecognized("No such path"))


def _no_such_method(request: IRequest, allowed: bytes) -> bytes:
    request.setHeader(b"Allow", allowed)
    return responses.error(request, Unrecognized("The path does not take this method", status=405))
