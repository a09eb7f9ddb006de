"""Row 9: starts."""

from __future__ import annotations

import subprocess
import sys
from select import select

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.figures import Usage
from benchmarks.processes import kill_all
from benchmarks.rows.start import Started, Stored, grown, measurement

#: starts another, says so, and waits
_PARENT = """import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("ready", flush=True)
time.sleep(60)"""


class MeasurementTests(SynchronousTestCase):
    """What is held against the table."""

    def test_targets(self) -> None:
        """Both moments count from the start of the process."""
        one = measurement("after a clean stop", Stored(10, 100, 5), Started(2.5, 5.5, Usage(seconds=5.5)), 0.5)
        self.assertEqual([(2.5, True), (5.5, False)], [(target.value, target.is_met) for target in one.targets])
        self.assertEqual({"seconds until a client is served": 11.0}, one.ratios)
        self.assertEqual("start after a clean stop: 10 rooms, 100 events, 5 devices", one.what)


class GrownTests(SynchronousTestCase):
    """`grown`."""

    def test_since(self) -> None:
        """It is what came since, or all there is where counting began anew; nothing where nobody counts."""
        self.assertEqual((3, 2, None), (grown(7, 10), grown(7, 2), grown(None, 2)))


class KillTests(SynchronousTestCase):
    """`kill_all`."""

    def test_all_below(self) -> None:
        """The process ends, and what it had started: nobody holds their output open any more."""
        with subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE) as parent:
            assert parent.stdout is not None
            self.assertEqual(b"ready\n", parent.stdout.readline())
            kill_all(parent.pid)
            self.assertEqual(-9, parent.wait(20))
            ended, _, _ = select([parent.stdout], [], [], 20)
            self.assertEqual([parent.stdout], ended)
