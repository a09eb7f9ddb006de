"""`twistd -n syncproxy` as a process that can be killed and started again."""

from __future__ import annotations

import os
import sys
import urllib.request
from pathlib import Path

import syncproxy
from tests.e2e.processes import ServerProcess, free_port


class ProxyProcess:
    """The proxy in front of a homeserver, with a directory for its data and one address for life; it forwards."""

    def __init__(self, homeserver: str, directory: Path) -> None:
        self._directory = directory
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self._metrics = f"http://127.0.0.1:{(metrics := free_port())}/metrics"
        self._command = [
            *(str(Path(sys.executable).parent / "twistd"), "-n", "--pidfile=", "syncproxy"),
            *("--homeserver", homeserver),
            *("--listen", f"tcp:{port}:interface=127.0.0.1"),
            *("--metrics", f"tcp:{metrics}:interface=127.0.0.1"),
            *("--data-dir", str(directory / "data")),
            "--forward",
        ]
        self.start()

    def start(self) -> None:
        """Start it with the data that it has; returns before it is ready."""
        env = {**os.environ, "PYTHONPATH": str(Path(syncproxy.__file__).parent.parent)}
        self._process = ServerProcess(self._command, self._directory / "proxy.log", cwd=self._directory, env=env)

    def ready(self) -> None:
        """Wait until it can serve."""
        self._process.wait_ready(f"{self.url}/health")

    def stop(self) -> None:
        """End it as SIGTERM does."""
        self._process.stop()

    def kill(self) -> None:
        """`kill -9`."""
        self._process.kill()

    @property
    def output(self) -> str:
        """What it has logged so far, before restarts too."""
        return self._process.output

    def metric(self, name: str) -> float:
        """The value of a metric without labels."""
        with urllib.request.urlopen(self._metrics, timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))
