"""How log events become lines."""

from __future__ import annotations

import io
import json
from pathlib import Path

from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.command.logs import blotted, observer, twistd_observer


class LogCase(SynchronousTestCase):
    """Logs into a string."""

    def log(self, level: str = "info", format: str = "text") -> Logger:
        """A logger whose lines are in `self.output`."""
        self.output = io.StringIO()
        return Logger(namespace="test", observer=observer(self.output, level, format))

    def lines(self) -> list[str]:
        """What was written."""
        return self.output.getvalue().splitlines()


class TextTests(LogCase):
    """`--log-format text`."""

    def test_line(self) -> None:
        """An event is a line with its logger, level and message."""
        self.log().info("{count} rooms", count=3)
        (line,) = self.lines()
        self.assertTrue(line.endswith("[test#info] 3 rooms"), line)

    def test_level(self) -> None:
        """What is below the level is not written."""
        log = self.log("warn")
        log.info("quiet")
        log.warn("loud")
        self.assertEqual(1, len(self.lines()))

    def test_twisted(self) -> None:
        """What Twisted tells of each connection is written at debug only."""
        for level, count in (("info", 0), ("debug", 1), ("error", 0)):
            output = io.StringIO()
            log = Logger(namespace="twisted.web.client", observer=observer(output, level, "text"))
            log.info("Starting factory")
            self.assertEqual(count, len(output.getvalue().splitlines()), level)

    def test_tokens(self) -> None:
        """An access token that a library's message repeats is blotted out."""
        self.log().info("{url} {header}", url="http://x/?access_token=syt_abc&y=1", header="Bearer syt_abc_def")
        self.assertNotIn("abc", self.output.getvalue())
        self.assertIn("&y=1", self.output.getvalue())

    def test_token_anywhere(self) -> None:
        """Synapse's tokens are known by their looks; words that begin alike stay."""
        self.assertEqual("token syt_… given", blotted("token syt_YWxpY2U_abc_1a2b3c given"))
        self.assertEqual("system_error, analysis_done", blotted("system_error, analysis_done"))


class JsonTests(LogCase):
    """`--log-format json`."""

    def test_line(self) -> None:
        """An event is an object with its fields."""
        self.log(format="json").info("{count} rooms", count=3, thing=object())
        (line,) = self.lines()
        event = json.loads(line)
        self.assertRegex(event.pop("time"), r"^\d{4}-\d\d-\d\dT.*\+00:00$")
        self.assertEqual({"level": "info", "logger": "test", "message": "3 rooms", "count": 3}, event)

    def test_failure(self) -> None:
        """A failure is one line too, with its traceback in it."""
        log = self.log(format="json")
        try:
            raise ValueError("broken")
        except ValueError:
            log.failure("It did not work")
        (line,) = self.lines()
        event = json.loads(line)
        self.assertEqual(("critical", "It did not work"), (event["level"], event["message"]))
        self.assertIn("ValueError: broken", event["traceback"])

    def test_tokens(self) -> None:
        """Fields are blotted as messages are."""
        self.log(format="json").info("asked", url="http://x/?access_token=secret")
        self.assertNotIn("secret", self.output.getvalue())
        json.loads(self.lines()[0])


class TwistdTests(SynchronousTestCase):
    """Where twistd says that logs go."""

    def test_logfile(self) -> None:
        """`twistd --logfile` names the file."""
        path = Path(self.mktemp())
        made = twistd_observer({"logfile": str(path)}, "info", "text")
        Logger(namespace="test", observer=made).info("hello")
        self.assertIn("[test#info] hello", path.read_text())

    def test_told_otherwise(self) -> None:
        """`twistd --syslog` and `--logger` go over ours."""
        for option in ("syslog", "logger"):
            self.assertIsNone(twistd_observer({option: "x"}, "info", "text"))
