"""The places where clients and Prometheus come in."""

from __future__ import annotations

from typing import Any

from prometheus_client.twisted import MetricsResource
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import Site

from syncproxy.errors import ConfigurationError
from syncproxy.metrics import Metrics

#: connections that the kernel keeps waiting while we are busy
_BACKLOG = 1024

_log = Logger(namespace="syncproxy")


class Listeners:
    """Endpoints that are known to be well-formed from the start, and listened at once all else is there."""

    def __init__(self, reactor: Any, *, clients: tuple[str, ...], metrics: str | None) -> None:
        self._clients = [(text, _endpoint(reactor, "--listen", text)) for text in clients]
        self._metrics = [] if metrics is None else [(metrics, _endpoint(reactor, "--metrics", metrics))]
        self._ports: list[IListeningPort] = []

    async def start(self, clients: IProtocolFactory, metrics: IProtocolFactory) -> None:
        """Listen everywhere. Raises ConfigurationError naming the endpoint that cannot be listened at."""
        for text, endpoint in self._metrics:
            await self._listen("--metrics", text, endpoint, metrics)
        for text, endpoint in self._clients:
            await self._listen("--listen", text, endpoint, clients)

    async def stop(self) -> None:
        """Take no new connections."""
        ports, self._ports = self._ports, []
        await DeferredList([stopped for port in ports if isinstance(stopped := port.stopListening(), Deferred)])

    async def _listen(self, option: str, text: str, endpoint: IStreamServerEndpoint, factory: IProtocolFactory) -> None:
        try:
            port = await endpoint.listen(factory)
        except (CannotListenError, OSError) as error:
            reason = getattr(error, "socketError", error)
            raise ConfigurationError(
                f"Cannot listen at {text}: {getattr(reason, 'strerror', None) or reason}; "
                f"stop what listens there, or give another {option}."
            ) from None
        self._ports.append(port)
        what = "clients" if option == "--listen" else "Prometheus"
        _log.info("listening for {what} at {address}", what=what, address=_address(port))


def metrics_site(metrics: Metrics) -> Site:
    """The site that answers `GET /metrics`."""
    root = Resource()
    root.putChild(b"metrics", MetricsResource(metrics.registry))
    site = Site(root)
    site.noisy = False
    return site


def _endpoint(reactor: Any, option: str, text: str) -> IStreamServerEndpoint:
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, _with_backlog(text))
    except Exception as error:
        # plugins parse endpoints and raise what they like
        raise ConfigurationError(
            f"{option} {text!r} is no usable endpoint ({' '.join(str(error).split())}): "
            "give one such as tcp:8009:interface=127.0.0.1."
        ) from None
    return endpoint


def _with_backlog(text: str) -> str:
    """Ask for a longer queue than Twisted's 50, unless the operator says how long."""
    kind = text.partition(":")[0]
    return text if "backlog=" in text or kind not in ("tcp", "tcp6", "ssl", "unix") else f"{text}:backlog={_BACKLOG}"


def _address(port: IListeningPort) -> str:
    """Where it listens, as one would type it."""
    host: Any = port.getHost()
    if hasattr(host, "port"):
        name = f"[{host.host}]" if ":" in host.host else host.host
        return f"{name}:{host.port}"
    path = getattr(host, "name", None)
    return path.decode("utf-8", "replace") if isinstance(path, bytes) else str(path or host)
