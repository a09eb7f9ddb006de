"""The service's life."""

from __future__ import annotations

from contextlib import AsyncExitStack

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.command.service import SyncproxyService
from syncproxy.command.stalls import StallWatch
from syncproxy.errors import ConfigurationError
from syncproxy.metrics import Metrics


class ServiceTests(SynchronousTestCase):
    """Starting, failing, stopping."""

    def setUp(self) -> None:
        """A service of two stages; the second waits."""
        self.stopped: list[str] = []
        self.failures = 0
        self.second: Deferred[None] = Deferred()
        self.service = SyncproxyService(self.start)
        self.service.failed = self.failed

    def failed(self) -> None:
        self.failures += 1

    async def start(self, stack: AsyncExitStack) -> None:
        stack.callback(self.stopped.append, "first")
        await self.second
        stack.callback(self.stopped.append, "second")

    def test_ready(self) -> None:
        """It is ready when all stages have started, and not before."""
        with capturedLogs() as logs:
            self.service.startService()
            self.assertFalse(self.service.is_ready)
            self.second.callback(None)
        self.assertTrue(self.service.is_ready)
        self.assertEqual(["ready"], [event["log_format"] for event in logs])

    def test_stop(self) -> None:
        """Stages stop last to first."""
        self.service.startService()
        self.second.callback(None)
        self.successResultOf(self.service.stopService())
        self.assertFalse(self.service.is_ready)
        self.assertEqual(["second", "first"], self.stopped)

    def test_stop_while_starting(self) -> None:
        """Stopped while it starts, it stops what had started, and nobody is told of a failure."""
        self.service.startService()
        self.successResultOf(self.service.stopService())
        self.assertEqual(["first"], self.stopped)
        self.assertEqual(0, self.failures)

    def test_misconfigured(self) -> None:
        """What the operator must change is one line; what had started is stopped."""
        self.service.startService()
        with capturedLogs() as logs:
            self.second.errback(ConfigurationError("Do\nthis."))
        self.assertEqual(["Do this."], [event["line"] for event in logs])
        self.assertEqual((["first"], 1), (self.stopped, self.failures))
        self.assertFalse(self.service.is_ready)

    def test_broken(self) -> None:
        """A fault of ours is logged with its traceback, and ends the start too."""
        self.service.startService()
        self.second.errback(ValueError("broken"))
        self.assertEqual(1, len(self.flushLoggedErrors(ValueError)))
        self.assertEqual((["first"], 1), (self.stopped, self.failures))

    def test_stage_that_does_not_stop(self) -> None:
        """A stage that fails to stop is logged, and the others are stopped."""

        async def start(stack: AsyncExitStack) -> None:
            stack.callback(self.stopped.append, "first")
            stack.callback(lambda: 1 // 0)

        service = SyncproxyService(start)
        service.startService()
        self.successResultOf(service.stopService())
        self.assertEqual(["first"], self.stopped)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))


class StallTests(SynchronousTestCase):
    """`StallWatch`."""

    def test_stall(self) -> None:
        """A reactor that comes 200 ms late is seen."""
        clock, metrics = Clock(), Metrics()
        now = [0.0]
        watch = StallWatch(metrics, clock, lambda: now[0])
        watch.startService()
        for late in (0.0, 0.2, 0.0):
            now[0] += 0.05 + late
            clock.advance(0.05)
        self.successResultOf(watch.stopService())
        self.assertAlmostEqual(0.2, metrics.registry.get_sample_value("syncproxy_reactor_stall_seconds_sum") or 0)
        self.assertEqual(3, metrics.registry.get_sample_value("syncproxy_reactor_stall_seconds_count"))
        self.assertEqual([], clock.getDelayedCalls())
