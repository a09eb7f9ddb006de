"""`python -m benchmarks.floor --port N --body FILE`: a plain Klein resource that answers the same bytes each time."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from klein import Klein
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.web.iweb import IRequest
from twisted.web.server import Site

from benchmarks.requests import MSC3575_PATH, MSC4186_PATH


def quiet_site(resource: Any) -> Site:
    """A site that logs nothing, and leaves bodies alone, as the proxy's does."""
    site = Site(resource, parsePOSTFormSubmission=False)
    site.log = lambda request: None  # type: ignore[method-assign] # what Twisted has no option for
    return site


def resource(body: bytes) -> Any:
    """A resource that answers both dialects' requests."""
    app = Klein()

    @app.route(MSC3575_PATH, methods=["POST"])
    @app.route(MSC4186_PATH, methods=["POST"])
    def sync(request: IRequest) -> bytes:
        request.setHeader(b"Content-Type", b"application/json")
        return body

    return app.resource()


def main() -> None:
    """Read the command line and serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="benchmarks.floor", description="What an answer costs at least.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--body", type=Path, required=True)
    options = parser.parse_args()
    endpoint = TCP4ServerEndpoint(reactor, options.port, interface="127.0.0.1")
    endpoint.listen(quiet_site(resource(options.body.read_bytes())))
    reactor.run()


if __name__ == "__main__":
    main()
