"""docs/how-to/deploy.md names options that there are."""

from __future__ import annotations

import re
import shlex

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.command.options import Options
from tests.docs.pages import commands, page

PAGE = "how-to/deploy.md"


class CommandTests(SynchronousTestCase):
    """Everything that starts syncproxy, in the unit and on the command line."""

    def test_options(self) -> None:
        """The options are understood."""
        text = page(PAGE)
        unit = re.findall(r"ExecStart=((?:.*\\\n)*.*)", text)
        starts = [text for text in (*unit, *commands(text)) if "/twistd " in text]
        self.assertEqual(2, len(starts))
        for start in starts:
            words = shlex.split(start.replace("\\\n", ""))
            options = Options()
            options.parseOptions(words[words.index("syncproxy") + 1 :])
            self.assertEqual("https://matrix.example.org", options.settings.homeserver)


class PositionTests(SynchronousTestCase):
    """What the page says of `pos` where history is paged through."""

    def test_documented(self) -> None:
        """It works with `--forward`, and not without."""
        said = "`pos` then works in `/messages` and `/relations`, too; beside the homeserver it does not."
        self.assertIn(said, " ".join(page(PAGE).split()))
