"""Every option and metric is documented, and nothing else is."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from syncproxy.command.options import FLAGS, OPTIONS
from syncproxy.metrics import Metrics

DOCS = Path(__file__).parent.parent.parent / "docs"


class ReferenceCase(SynchronousTestCase):
    """Reads pages of a checkout."""

    def page(self, name: str) -> str:
        """A page's text."""
        path = DOCS / "reference" / name
        if not path.exists():
            raise SkipTest("there are no docs beside these tests")
        return path.read_text()

    def rows(self, name: str) -> list[list[str]]:
        """The rows of all tables of a page, headings left out."""
        rows = [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in self.page(name).splitlines()
            if line.startswith("| ")
        ]
        return [row for row in rows if not set("".join(row)) <= set("- ")]


class OptionTests(ReferenceCase):
    """docs/reference/options.md."""

    def test_all_options(self) -> None:
        """Each option has a row with its variable; there are no rows of options that do not exist."""
        documented = {row[0].strip("`-"): row[1].strip("`") for row in self.rows("options.md") if row[0][:3] == "`--"}
        names = [option.name for option in OPTIONS] + list(FLAGS)
        self.assertEqual({name: f"SYNCPROXY_{name.upper().replace('-', '_')}" for name in names}, documented)

    def test_defaults(self) -> None:
        """The defaults are those of the program."""
        defaults = {row[0].strip("`-"): row[2].strip("`") for row in self.rows("options.md") if row[0][:3] == "`--"}
        for option in OPTIONS:
            if option.default is not None:
                self.assertEqual(option.default, defaults[option.name])

    def test_go_names(self) -> None:
        """Each variable of the Go proxy that the program reads is there."""
        source = Path(__file__).parent.parent.parent / "syncproxy" / "command"
        read = set(
            re.findall(r"SYNCV3_[A-Z_]+", (source / "go_names.py").read_text() + (source / "options.py").read_text())
        )
        documented = set(re.findall(r"SYNCV3_[A-Z_]+", self.page("options.md")))
        self.assertEqual({name for name in read if not name.endswith("_")}, documented)


class MetricTests(ReferenceCase):
    """docs/reference/metrics.md."""

    def test_all_metrics(self) -> None:
        """Each metric has a row, with its kind; there are no rows of metrics that do not exist."""
        metrics = {
            family.name + ("_total" if family.type == "counter" else ""): family.type
            for family in Metrics().registry.collect()
        }
        documented = {row[0].strip("`"): row[1] for row in self.rows("metrics.md") if row[0][:1] == "`"}
        self.assertEqual(metrics, documented)
