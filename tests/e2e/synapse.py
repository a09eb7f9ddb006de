"""A real Synapse for end-to-end tests: SQLite, no federation, users registered by shared secret.

`SYNCPROXY_TEST_SYNAPSE` names a Python that has `matrix-synapse` and `psycopg2-binary` installed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.e2e.processes import ServerProcess, free_port

SHARED_SECRET = "registration"
SERVER_NAME = "hs.test"
UNLIMITED = {"per_second": 10000, "burst_count": 10000}


@dataclass(frozen=True)
class Account:
    """A registered user with one login."""

    user_id: str
    access_token: str
    device_id: str
    password: str

    def as_json(self) -> dict[str, str]:
        """For the scripts."""
        return asdict(self)


class Synapse:
    """A running homeserver; `overrides` go over its configuration."""

    def __init__(self, directory: Path, **overrides: Any) -> None:
        directory.mkdir(parents=True)
        self.port = free_port()
        self._directory = directory
        config = directory / "homeserver.yaml"
        # JSON is YAML
        config.write_text(json.dumps(configuration(directory, self.port) | overrides))
        self._command = [os.environ["SYNCPROXY_TEST_SYNAPSE"], "-m", "synapse.app.homeserver", "-c", str(config)]
        generate = ServerProcess([*self._command, "--generate-keys"], directory / "keys.log", cwd=directory)
        generate.wait()
        self._process: ServerProcess | None = None
        self.start()

    def start(self) -> None:
        """Start it with the data that it has, unless it runs, and wait until it answers."""
        if self._process is None:
            self._process = ServerProcess(self._command, self._directory / "synapse.log", cwd=self._directory)
            self._process.wait_ready(f"{self.url}/_matrix/client/versions")

    def stop(self) -> None:
        """Stop it; its data stay."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://127.0.0.1:{self.port}"

    def register(self, name: str) -> Account:
        """Register a user and log one device in."""
        password = f"password of {name}"
        path = f"{self.url}/_synapse/admin/v1/register"
        nonce = request(path)["nonce"]
        text = f"{nonce}\0{name}\0{password}\0notadmin"
        mac = hmac.new(SHARED_SECRET.encode(), text.encode(), hashlib.sha1).hexdigest()
        fields = {"nonce": nonce, "username": name, "password": password, "admin": False, "mac": mac}
        made = request(path, {**fields, "displayname": name.title()})
        return Account(made["user_id"], made["access_token"], made["device_id"], password)


def request(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """GET, or POST of a JSON body; the JSON answer."""
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=20) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def configuration(directory: Path, port: int) -> dict[str, Any]:
    """The smallest `homeserver.yaml` that tests can use."""
    limits = ("rc_message", "rc_registration", "rc_admin_redaction", "rc_room_creation", "rc_joins_per_room")
    joins, invites = ("local", "remote"), ("per_room", "per_user", "per_issuer")
    logins = ("address", "account", "failed_attempts")
    return {
        "server_name": SERVER_NAME,
        "signing_key_path": str(directory / "signing.key"),
        "pid_file": str(directory / "synapse.pid"),
        "media_store_path": str(directory / "media"),
        "report_stats": False,
        "macaroon_secret_key": "macaroons",
        "registration_shared_secret": SHARED_SECRET,
        "trusted_key_servers": [],
        "listeners": [
            {
                "port": port,
                "bind_addresses": ["127.0.0.1"],
                "type": "http",
                "tls": False,
                "resources": [{"names": ["client"]}],
            }
        ],
        "database": {"name": "sqlite3", "args": {"database": str(directory / "homeserver.db")}},
        "bcrypt_rounds": 4,
        "presence": {"enabled": False},
        "enable_search": False,
        "user_directory": {"enabled": False},
        "federation_domain_whitelist": [],
        "sync_response_cache_duration": "0s",
        **dict.fromkeys(limits, UNLIMITED),
        "rc_joins": dict.fromkeys(joins, UNLIMITED),
        "rc_invites": dict.fromkeys(invites, UNLIMITED),
        "rc_login": dict.fromkeys(logins, UNLIMITED),
    }
