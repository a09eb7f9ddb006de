"""`twistd -n syncproxy` as a process of its own, watched from a test's reactor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.task import deferLater

import syncproxy

READY_S = 60
_LOOK_S = 0.05


class Twistd:
    """One run; `output` has what it said so far, stdout and stderr together."""

    def __init__(
        self, *options: str, cwd: Path, env: Mapping[str, str] | None = None, twistd: tuple[str, ...] = ()
    ) -> None:
        self._log = cwd / "output"
        root = str(Path(syncproxy.__file__).parent.parent)
        ours = ("SYNCPROXY_", "SYNCV3_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                [Path(sys.executable).parent / "twistd", "-n", "--pidfile=", *twistd, "syncproxy", *options],
                cwd=cwd,
                env={**inherited, "PYTHONPATH": root, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    @property
    def output(self) -> str:
        """What it said so far."""
        return self._log.read_text(errors="replace")

    async def ready(self) -> str:
        """Wait until it says `ready`; AssertionError with its output if it does not."""
        return await self.says("ready\n")

    async def says(self, words: str) -> str:
        """Wait until it has said these words; its output."""
        deadline = reactor.seconds() + READY_S
        while words not in self.output:
            if self.process.poll() is not None or reactor.seconds() > deadline:
                raise AssertionError(f"it did not say {words!r}:\n{self.output}")
            await deferLater(reactor, _LOOK_S)
        return self.output

    async def ended(self) -> int:
        """Wait until it has ended; its exit status."""
        deadline = reactor.seconds() + READY_S
        while self.process.poll() is None:
            if reactor.seconds() > deadline:
                raise AssertionError(f"it did not end:\n{self.output}")
            await deferLater(reactor, _LOOK_S)
        return int(self.process.returncode)

    async def stopped(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, wait until it has ended; its exit status."""
        self.process.send_signal(number)
        return await self.ended()

    def kill(self) -> None:
        """`kill -9`, and wait."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
