"""What concerns the operating system's process: how many files it may open, and how it ends."""

from __future__ import annotations

import atexit
import os
import resource
import select
import signal
import sys
from typing import Any

#: sockets that are heard in a turn of the reactor
MOST_SOCKETS = 32


def raise_file_limit() -> None:
    """Allow as many open files as the system lets us have: each held request is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):
        # macOS promises more than it gives
        return


def heed_one_signal(reactor: Any) -> None:
    """Once the reactor stops, ignore what else asks for that: Twisted would log a traceback for each."""

    def ignore() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)

    reactor.addSystemEventTrigger("before", "shutdown", ignore)


class _FewAtOnce:
    """An epoll object that tells of few sockets at once; of the others when it is asked next."""

    def __init__(self, poller: Any) -> None:
        self._poll = poller.poll
        self.register, self.modify, self.unregister = poller.register, poller.modify, poller.unregister
        self.fileno, self.close = poller.fileno, poller.close

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        """See `select.epoll.poll`."""
        ready: list[tuple[int, int]] = self._poll(timeout, min(most, MOST_SOCKETS))
        return ready


def hear_few(reactor: Any) -> None:
    """Let a turn of the reactor hear few sockets: of thousands that are ready at once all would be one long turn."""
    if not hasattr(select, "epoll"):
        # only Linux has it, and where it is not the module cannot be imported
        return
    from twisted.internet.epollreactor import EPollReactor

    if isinstance(reactor, EPollReactor):
        # Twisted has no setting for it
        reactor._poller = _FewAtOnce(reactor._poller)


class ExitStatus:
    """Makes the process end with status 1 after `failed`; twistd itself would end with 0 once the reactor ran."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._failed = False
        # registered early, so that what others registered later runs before it
        atexit.register(self._exit)

    def failed(self) -> None:
        """Stop the reactor, which may not even run yet, and remember."""
        self._failed = True
        self._reactor.callWhenRunning(self._reactor.stop)

    def _exit(self) -> None:
        if self._failed:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(1)
