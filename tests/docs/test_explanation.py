"""docs/explanation names modules, tests and libraries that there are."""

from __future__ import annotations

import re
from configparser import ConfigParser

from twisted.trial.unittest import SynchronousTestCase

from tests.docs.pages import ROOT, page, rows, section

GUARANTEES = "explanation/guarantees.md"


class GuaranteeTests(SynchronousTestCase):
    """docs/explanation/guarantees.md."""

    def test_what_it_names(self) -> None:
        """Each module that keeps a guarantee, and each suite that shows one, is there."""
        named = re.findall(r"`((?:syncproxy|tests)\.[\w.]+)`", page(GUARANTEES))
        self.assertGreater(len(named), 50)
        self.assertEqual([], [name for name in named if not exists(name)])

    def test_each_says_where(self) -> None:
        """Each guarantee says which modules keep it and which tests show it."""
        *promises, not_promised = re.split(r"\n##+ ", page(GUARANTEES))[1:]
        self.assertTrue(not_promised.startswith("What is not guaranteed"))
        for promise in promises:
            if "\n\n" in promise.strip():
                self.assertRegex(promise, r"(?s)Kept by `syncproxy\..*Shown\s+by\s+`tests\.", promise[:60])


class ArchitectureTests(SynchronousTestCase):
    """docs/explanation/architecture.md."""

    def test_modules(self) -> None:
        """Each package has a row in the table of the layout, and each module that a row names is in it."""
        table = {row[0].strip("`/"): row[1] for row in rows(page("explanation/architecture.md")) if row[0][-2:] == "/`"}
        packages = {path.parent.name for path in (ROOT / "syncproxy").glob("*/__init__.py")}
        self.assertEqual(packages, set(table))
        storage = section(page("explanation/architecture.md"), "Layout", "Storage")
        table["storage"] = re.sub(r"\{doc\}`\w+`", "", storage)
        named = [f"syncproxy.{package}.{name}" for package in table for name in re.findall(r"`(\w+)`", table[package])]
        self.assertGreater(len(named), 30)
        self.assertEqual([], [name for name in named if not exists(name)])


class DependencyTests(SynchronousTestCase):
    """docs/explanation/dependencies.md."""

    def test_all_libraries(self) -> None:
        """The table has what setup.cfg requires, and nothing else, each with its licence and a reason."""
        table = rows(page("explanation/dependencies.md"))[1:]
        config = ConfigParser(interpolation=None)
        config.read(ROOT / "setup.cfg")
        lines = config["options"]["install_requires"].split("\n")
        required = {match[0].lower() for line in lines if (match := re.match(r"[\w.-]+", line))}
        self.assertEqual(required, {row[0] for row in table})
        self.assertEqual([], [row for row in table if len(row) != 3 or not all(row)])


def exists(name: str) -> bool:
    """Whether there is such a module, or such a class of tests in one."""
    path = ROOT.joinpath(*name.split("."))
    if path.is_dir() or path.with_suffix(".py").exists():
        return True
    module = path.parent.with_suffix(".py")
    return module.exists() and f"\nclass {path.name}(" in module.read_text()
