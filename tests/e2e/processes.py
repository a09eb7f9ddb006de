"""Servers that end-to-end tests run as processes of their own: started, waited for, stopped by pid."""

from __future__ import annotations

import atexit
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

READY_S = 30
STOP_S = 20


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ServerProcess:
    """A server on 127.0.0.1 whose output goes to a file; it is stopped at exit at the latest."""

    def __init__(self, command: Sequence[str], log: Path, *, cwd: Path, env: Mapping[str, str] | None = None) -> None:
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=cwd, env=env
            )
        atexit.register(self.stop)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def wait_ready(self, url: str) -> None:
        """Wait until a URL answers 200; AssertionError with the end of the log after 30 s or when it died."""
        deadline = time.monotonic() + READY_S
        while not answers(url):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError(f"{url} did not get ready:\n{self.log_tail()}")
            time.sleep(0.05)

    def wait(self) -> None:
        """Wait until a command that ends by itself has ended well."""
        if self._process.wait(READY_S) != 0:
            raise AssertionError(self.log_tail())

    def log_tail(self) -> str:
        """The last 4,000 characters of output."""
        return self.output[-4000:]

    @property
    def output(self) -> str:
        """All that was written to its log, by earlier processes too."""
        return self._log.read_text(errors="replace")

    def stop(self) -> int | None:
        """Send SIGTERM, wait 20 s, then SIGKILL; the exit status."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(STOP_S)
        atexit.unregister(self.stop)
        return self._process.returncode

    def kill(self) -> None:
        """`kill -9`, and wait."""
        self._process.kill()
        self.stop()


def answers(url: str) -> bool:
    """Whether a URL answers 200 within a second."""
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
