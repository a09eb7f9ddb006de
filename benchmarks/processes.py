"""Child processes, stopped by pid at the latest when we end; and what `/proc` tells of them."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
_READY_S = 60
_STOP_S = 30
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class NotStarted(Exception):
    """A process ended before it was ready, or took too long."""


class Child:
    """A process of ours, in the checkout; its output goes to a log file unless it talks through pipes."""

    def __init__(self, command: Sequence[str | Path], log: Path, *, talks: bool = False) -> None:
        self._log = log
        pipe = subprocess.PIPE if talks else None
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=pipe or subprocess.DEVNULL,
                stdout=pipe or output,
                stderr=output,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        atexit.register(self.stop)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def to(self) -> IO[bytes]:
        """Its stdin, if it talks."""
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def by(self) -> IO[bytes]:
        """Its stdout, if it talks."""
        assert self._process.stdout is not None
        return self._process.stdout

    def listens(self, port: int) -> None:
        """Wait until it listens on 127.0.0.1; NotStarted if it does not."""
        deadline = time.monotonic() + _READY_S
        while not _accepts(port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise NotStarted(f"nothing listens on port {port}:\n{self.last_words()}")
            time.sleep(0.05)

    def last_words(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-3000:]

    def stop(self) -> None:
        """SIGTERM, and SIGKILL after 30 s, to what it started as well."""
        atexit.unregister(self.stop)
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                kill_all(self.pid)
                self._process.wait()

    def kill(self) -> None:
        """SIGKILL to it and all that it started; whoever waits for it waits no longer."""
        if self._process.poll() is None:
            kill_all(self.pid)


def python(module: str, *arguments: str | Path) -> list[str | Path]:
    """The command that runs one of our modules."""
    return [sys.executable, "-m", module, *arguments]


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far, all its threads; 0 if it is gone.

    By its CPU clock, for `/proc` counts in ticks of 10 ms.
    """
    try:
        # what clock_getcpuclockid(3) makes of a pid
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        return 0.0


def descendants_cpu_s(pid: int) -> float:
    """CPU seconds so far of all processes below a process, those that have ended included."""
    return sum(sum(_times(child)) for child in _descendants(pid))


def kill_all(pid: int) -> None:
    """SIGKILL to a process of ours and all below it: nobody can clean up."""
    for one in (pid, *_descendants(pid)):
        try:
            os.kill(one, signal.SIGKILL)
        except ProcessLookupError:
            continue


def forget_peak(pid: int) -> None:
    """Start the peak of a process's memory anew."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    except OSError:
        # not ours to reset: the peak is then that since its start
        return


def peak_rss_mib(pid: int) -> float:
    """Peak resident memory of a process."""
    return _status_mib(pid, "VmHWM:")


def rss_mib(pid: int) -> float:
    """Resident memory of a process."""
    return _status_mib(pid, "VmRSS:")


def _status_mib(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise ValueError(f"/proc/{pid}/status has no {name}")


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _times(pid: int) -> list[float]:
    """User and system time of a process, and of its children that have ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return [0.0]
    return [int(field) / _TICKS_PER_S for field in stat.rpartition(")")[2].split()[11:15]]


def _descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            children = (task / "children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        for child in map(int, children):
            found += [child, *_descendants(child)]
    return found
