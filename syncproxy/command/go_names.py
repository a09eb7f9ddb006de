"""The Go proxy's variables, so that syncproxy can be swapped in for it: `SYNCV3_*` become our options."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.endpoints import quoteStringArgument

#: variable -> option, where the value needs no translation
_SAME = {"SYNCV3_DB": "database"}
_LEVELS = {"trace": "debug", "warning": "warn", "fatal": "critical", "panic": "critical"}


def options_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Option name -> text, for those variables that are there. Raises ValueError naming the variable."""
    found = {option: environment[name] for name, option in _SAME.items() if environment.get(name)}
    if server := environment.get("SYNCV3_SERVER"):
        found["homeserver"] = f"unix:{server}" if server.startswith("/") else server
    if address := environment.get("SYNCV3_BINDADDR"):
        found["listen"] = _listener(environment, address)
    if address := environment.get("SYNCV3_PROM"):
        found["metrics"] = _endpoint("SYNCV3_PROM", address, "tcp")
    if level := environment.get("SYNCV3_LOG_LEVEL"):
        found["log-level"] = _LEVELS.get(level.lower(), level)
    connections = environment.get("SYNCV3_MAX_DB_CONN", "")
    if connections not in ("", "0"):
        found["database-connections"] = connections
    return found


def _listener(environment: Mapping[str, str], address: str) -> str:
    certificate, key = environment.get("SYNCV3_TLS_CERT"), environment.get("SYNCV3_TLS_KEY")
    if bool(certificate) != bool(key):
        raise ValueError("SYNCV3_TLS_CERT and SYNCV3_TLS_KEY go together: set both or neither")
    if not certificate or not key:
        return _endpoint("SYNCV3_BINDADDR", address, "tcp")
    ssl = _endpoint("SYNCV3_BINDADDR", address, "ssl")
    return f"{ssl}:certKey={quoteStringArgument(certificate)}:privateKey={quoteStringArgument(key)}"


def _endpoint(name: str, address: str, kind: str) -> str:
    """`host:port`, `:port` (all interfaces) or the path of a socket, as a Twisted endpoint string."""
    if address.startswith("/"):
        return f"unix:{quoteStringArgument(address)}"
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        raise ValueError(f"{name} takes host:port or the path of a socket")
    host = host.strip("[]")
    if not host:
        return f"{kind}:{port}"
    kind = "tcp6" if kind == "tcp" and ":" in host else kind
    return f"{kind}:{port}:interface={quoteStringArgument(host)}"
