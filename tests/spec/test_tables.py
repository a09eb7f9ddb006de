"""Each sentence of the specification has a test, or says why it has none."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from unittest import TestCase

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.spec.documents import Row, plain, sections, strangers, table, uncovered

HERE = Path(__file__).parent
TABLES = {path.stem: table(path) for path in sorted(HERE.glob("*.toml"))}
#: the specification is kept beside the checkout, not in it
SPEC = Path(os.environ.get("SYNCPROXY_SPEC", HERE.parent.parent.parent / "shared" / "spec"))


def document(name: str) -> dict[str, str]:
    """A document's sections. Raises SkipTest where the specification is not at hand."""
    path = SPEC / f"{name}.md"
    if not path.exists():
        raise SkipTest(f"there is no {path}; SYNCPROXY_SPEC may name another directory")
    return sections(path.read_text())


def exists(name: str) -> bool:
    """Whether trial would run a test of this name."""
    path, case, method = name.rsplit(".", 2)
    try:
        found = getattr(import_module(path), case, None)
    except ModuleNotFoundError:
        return False
    return isinstance(found, type) and issubclass(found, TestCase | SynchronousTestCase) and hasattr(found, method)


class TableTests(SynchronousTestCase):
    """upstream.toml and the like, by themselves."""

    def test_tests_exist(self) -> None:
        """Each test that a row names is there."""
        names = {name for rows in TABLES.values() for row in rows for name in row.tests}
        self.assertEqual([], sorted(name for name in names if not exists(name)))

    def test_each_row_is_answered(self) -> None:
        """Each row names tests, or says why there are none."""
        for name, rows in TABLES.items():
            self.assertEqual([], [row for row in rows if not row.tests and not row.later], name)

    def test_each_row_is_there_once(self) -> None:
        """No two rows of a section have the same text, and no row names a test twice."""
        for name, rows in TABLES.items():
            keys = [(row.section, plain(row.text)) for row in rows]
            self.assertEqual([], sorted(key for key in set(keys) if keys.count(key) > 1), name)
            self.assertEqual([], [row for row in rows if len(set(row.tests)) != len(row.tests)], name)


class DocumentTests(SynchronousTestCase):
    """The tables beside the documents."""

    def test_rows_are_in_the_document(self) -> None:
        """What a row says still stands in the document, under that heading."""
        for name, rows in TABLES.items():
            self.assertEqual([], strangers(document(name), rows), name)

    def test_document_is_in_the_rows(self) -> None:
        """Each sentence of the document is in a row."""
        for name, rows in TABLES.items():
            self.assertEqual([], uncovered(document(name), rows), name)


class CheckTests(SynchronousTestCase):
    """The checks themselves, on a document of a few lines."""

    document = sections("# Title\nOne *thing*. Another\n`thing`.\n\n## Part\n| a | b |\n| --- | --- |\n| x | y; z |\n")

    def test_sections(self) -> None:
        """Text is joined over its lines, a table's heading is no sentence."""
        self.assertEqual({"Title": "One thing. Another thing.", "Part": "x y; z"}, self.document)

    def test_uncovered(self) -> None:
        """What no row has is found, whatever part of a sentence it is."""
        rows = [Row("Title", "Another `thing`."), Row("Part", "x | y"), Row("Part", "One thing.")]
        self.assertEqual(["Title: One thing.", "Part: ; z"], uncovered(self.document, rows))

    def test_covered(self) -> None:
        """Rows may overlap, and leave out punctuation."""
        rows = [Row("Title", "thing"), Row("Title", "One thing. Another thing"), Row("Part", "x"), Row("Part", "y; z")]
        self.assertEqual([], uncovered(self.document, rows))

    def test_strangers(self) -> None:
        """A row of which a word changed, or which stands elsewhere, is found."""
        rows = [Row("Title", "One thing."), Row("Title", "Two things."), Row("Part", "Another thing.")]
        self.assertEqual(rows[1:], strangers(self.document, rows))

    def test_unknown_tests(self) -> None:
        """A module, class or method that is not there is no test, nor is a helper."""
        here = "tests.spec.test_tables"
        self.assertTrue(exists(f"{here}.CheckTests.test_unknown_tests"))
        others = (f"{here}.CheckTests.test_none", f"{here}.NoTests.test_x", "tests.spec.test_none.A.test_x")
        self.assertEqual([], [name for name in (*others, "tests.spec.documents.Row.text") if exists(name)])
