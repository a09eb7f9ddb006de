"""docs/how-to/operate.md knows every line of the log, every metric and every kind of error."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import syncproxy
from syncproxy.metrics import Metrics
from tests.docs.pages import literal, page, rows, section

PAGE = "how-to/operate.md"
SOURCES = Path(syncproxy.__file__).parent
#: the methods of a logger that operators hear of, by the level of what they say
TOLD = {"warn": "warn", "error": "error", "critical": "critical", "failure": "critical"}


def logged() -> Iterator[tuple[str, str]]:
    """Level and format of everything that the program logs."""
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                logger = ast.unparse(node.func.value)
                if logger.endswith("_log") and node.args and isinstance(node.args[0], ast.Constant):
                    yield TOLD.get(node.func.attr, node.func.attr), str(node.args[0].value)


class LogLineTests(SynchronousTestCase):
    """The table of log lines."""

    def documented(self) -> set[tuple[str, str]]:
        """Level and format of each row."""
        return {(row[0], literal(row[1])) for row in rows(section(page(PAGE), "Log lines")) if len(row) == 3} - {
            ("level", "line")
        }

    def test_lines_that_operators_must_know(self) -> None:
        """Each warning, error and failure that the program can log has a row."""
        told = {(level, format) for level, format in logged() if level in TOLD.values()}
        self.assertEqual(set(), told - self.documented(), f"add a row to docs/{PAGE} that says what to do")

    def test_lines_that_are_no_more(self) -> None:
        """Each row is of something that the program can log at that level."""
        self.assertEqual(set(), self.documented() - set(logged()))


class MetricTests(SynchronousTestCase):
    """Metrics, kinds of errors, and the rules for Prometheus."""

    def setUp(self) -> None:
        """What the program has."""
        self.families = {family.name: family.type for family in Metrics().registry.collect()}

    def exposed(self) -> set[str]:
        """The names of all samples."""
        endings = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}
        return {name + ending for name, type_ in self.families.items() for ending in endings[type_]}

    def test_every_metric(self) -> None:
        """Each metric is named among what metrics tell."""
        text = section(page(PAGE), "Metrics and alerts")
        unnamed = [name for name, type_ in self.families.items() if name + "_total" * (type_ == "counter") not in text]
        self.assertEqual([], unnamed, f"say in docs/{PAGE} what they tell")

    def test_rules(self) -> None:
        """The rules use samples that there are, kinds that there are, and buckets that there are."""
        rules = re.findall(r"```yaml\n(.*?)```", page(PAGE), re.DOTALL)[0]
        used = set(re.findall(r"\b(?:syncproxy|sliding_sync)_\w+", rules))
        self.assertEqual(set(), used - self.exposed())
        self.assertGreater(len(used), 6)
        kinds = {kind for some in re.findall(r'kind=~?"([^"]+)"', rules) for kind in some.split("|")}
        self.assertEqual(set(), kinds - self.kinds())
        for edge in re.findall(r'le="([^"]+)"', rules):
            self.assertIn(edge, {sample.labels.get("le") for f in Metrics().registry.collect() for sample in f.samples})

    def test_kinds(self) -> None:
        """Each kind of error has a row; there are no others."""
        table = rows(section(page(PAGE), "Metrics and alerts"))
        start = next(number for number, row in enumerate(table) if row[0] == "`kind`")
        documented = {literal(kind) for row in table[start + 1 :] for kind in row[0].split(", ")}
        self.assertEqual(self.kinds(), documented)

    def kinds(self) -> set[str]:
        """What the program counts errors by."""
        text = "".join(path.read_text() for path in SOURCES.rglob("*.py"))
        return set(re.findall(r'(?:errors\.labels|_count)\("(\w+)"\)', text))
