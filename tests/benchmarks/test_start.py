"""Row 9: starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.figures import Usage
from benchmarks.processes import kill_all
from benchmarks.rows.start import Started, Stored, measurement

#: starts another, says its id, and waits
_PARENT = """import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)"""


class MeasurementTests(SynchronousTestCase):
    """What is held against the table."""

    def test_targets(self) -> None:
        """Both moments count from the start of the process."""
        one = measurement("after a clean stop", Stored(10, 100, 5), Started(2.5, 5.5, Usage(seconds=5.5)))
        self.assertEqual([(2.5, True), (5.5, False)], [(target.value, target.is_met) for target in one.targets])
        self.assertEqual("start after a clean stop: 10 rooms, 100 events, 5 devices", one.what)


class KillTests(SynchronousTestCase):
    """`kill_all`."""

    def test_all_below(self) -> None:
        """The process ends, and what it had started."""
        with subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE) as parent:
            assert parent.stdout is not None
            child = int(parent.stdout.readline())
            kill_all(parent.pid)
            self.assertEqual(-9, parent.wait(10))
        # its end, too, is no longer open
        self.assertIn(_state(child), ("", "Z", "X"))


def _state(pid: int) -> str:
    """One letter; "": there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""
