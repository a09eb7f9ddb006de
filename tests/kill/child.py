"""The service as a child process of the test, with the address, database and secret that it had before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.web.client import Agent

import syncproxy
import tests
from tests.integration.harness import READY_S, Proxy, healthy

_LOOK_S = 0.01
#: what must never be in its log
_BAD = ("Traceback", "never be stored", "could not be stored", "could not be told", "Unhandled")


class Child(Proxy):
    """`home` is a directory of its own; `output` is what all of its runs said."""

    def __init__(self, home: Path, homeserver: str, database: str, *more: str) -> None:
        super().__init__(homeserver, database, str(home / "data"), *more)
        self.home = home
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def output(self) -> str:
        """What it said so far."""
        return (self.home / "output").read_text(errors="replace")

    async def start(self, agent: Agent) -> None:
        """Start, and wait until `/health` says that it can serve."""
        self.launch()
        await self.ready(agent)

    def launch(self) -> None:
        """Start."""
        roots = os.pathsep.join(str(Path(str(package.__file__)).parent.parent) for package in (tests, syncproxy))
        with (self.home / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.kill.program", str(self.home), *self._arguments],
                cwd=self.home,
                env={**os.environ, "PYTHONPATH": roots},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    async def ready(self, agent: Agent) -> None:
        """Wait until `/health` says that it can serve."""
        deadline = reactor.seconds() + READY_S
        while not await healthy(agent, self.url):
            if self.has_ended or reactor.seconds() > deadline:
                raise AssertionError(f"it did not get ready:\n{self.output}")
            await deferLater(reactor, _LOOK_S)

    @property
    def has_ended(self) -> bool:
        """Whether no process runs."""
        return self._process is None or self._process.poll() is not None

    async def killed(self) -> None:
        """Wait until it was ended by SIGKILL, and by nothing else."""
        deadline = reactor.seconds() + READY_S
        while not self.has_ended:
            if reactor.seconds() > deadline:
                raise AssertionError(f"it was not killed:\n{self.output}")
            await deferLater(reactor, _LOOK_S)
        if self._process is None or self._process.returncode != -signal.SIGKILL:
            raise AssertionError(f"it ended otherwise:\n{self.output}")

    def kill(self) -> None:
        """`kill -9`."""
        if self._process is not None and not self.has_ended:
            self._process.kill()

    async def stop(self) -> None:
        """End it; AssertionError if it had something to complain of."""
        self.kill()
        if self._process is not None:
            self._process.wait()
        bad = [word for word in _BAD if word in self.output]
        if bad:
            raise AssertionError(f"it said {bad}:\n{self.output}")
