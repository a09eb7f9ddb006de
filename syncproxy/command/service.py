"""The service's life: it starts in stages, says that it is ready, and stops in the opposite order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized

from syncproxy.command.garbage import settle
from syncproxy.errors import ConfigurationError

_log = Logger(namespace="syncproxy")


class SyncproxyService(MultiService):
    """Runs `start_stages(stack)`, which puts on the stack how each stage is stopped.

    `failed` is called, once, if it cannot start or run on; what had started is stopped again before that.
    """

    def __init__(self, start_stages: Callable[[AsyncExitStack], Awaitable[None]]) -> None:
        super().__init__()
        self._start_stages = start_stages
        #: to be set by who wants to know
        self.failed: Callable[[], None] = lambda: None
        #: what an application that takes this service is to log with
        self.observer: ILogObserver | None = None
        self._stack = AsyncExitStack()
        self._starting: Deferred[None] | None = None
        #: whether requests can be served: all stages have started, none has stopped
        self.is_ready = False

    def setServiceParent(self, parent: Any) -> None:
        """Join an application, and bring our observer along: twistd looks for it there before it starts to log."""
        super().setServiceParent(parent)
        if self.observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self.observer)

    def startService(self) -> None:
        """Begin to start; `ready` is logged when it is done."""
        super().startService()
        self._starting = ensureDeferred(self._start())

    def stopService(self) -> Deferred[Any]:
        """Stop everything that has started: no new connections, held polls answered, all stored, all closed."""
        self.is_ready = False
        return ensureDeferred(self._stop())

    def fail(self, line: str) -> None:
        """Something broke for good while running: say so, stop everything, and call `failed`."""
        self.is_ready = False
        _log.critical("{line}", line=line)
        ensureDeferred(self._end_as_failed())

    async def _end_as_failed(self) -> None:
        self._give_up_starting()
        await self._close()
        self.failed()

    async def _start(self) -> None:
        try:
            await self._start_stages(self._stack)
        except CancelledError:
            return
        except ConfigurationError as error:
            _log.critical("{line}", line=" ".join(str(error).split()))
        except Exception:
            _log.failure("syncproxy could not start")
        else:
            settle()
            self.is_ready = True
            _log.info("ready")
            return
        await self._close()
        self.failed()

    async def _stop(self) -> None:
        self._give_up_starting()
        await self._close()
        await super().stopService()

    def _give_up_starting(self) -> None:
        starting, self._starting = self._starting, None
        if starting is not None and not starting.called:
            starting.cancel()

    async def _close(self) -> None:
        """Stop the stages, last first; one that fails is logged, the others are stopped all the same."""
        stack, self._stack = self._stack.pop_all(), AsyncExitStack()
        try:
            await stack.aclose()
        except Exception:
            _log.failure("A stage did not stop well")
