"""The pages of the documentation, as tests read them."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SkipTest

ROOT = Path(__file__).parent.parent.parent


def page(name: str) -> str:
    """A page's text. Raises SkipTest where there is only the installed package."""
    path = ROOT / "docs" / name
    if not path.exists():
        raise SkipTest("there are no docs beside these tests")
    return path.read_text()


def rows(text: str) -> list[list[str]]:
    """The rows of all tables of a text; lines of dashes and empty headings are left out."""
    found = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines() if line[:2] == "| "]
    return [row for row in found if not set("".join(row)) <= set("- |")]


def literal(cell: str) -> str:
    """What stands between the backticks of a cell that has nothing else."""
    return cell.strip("`").strip()


def section(text: str, *headings: str) -> str:
    """What is under a heading, in the section of the one named before it; its own subsections are left out."""
    for depth, heading in enumerate(headings, 2):
        _, found, text = text.partition(f"\n{'#' * depth} {heading}\n")
        if not found:
            raise AssertionError(f"there is no section {heading!r}")
        text = re.split(rf"\n#{{2,{depth}}} ", text)[0]
    return re.split(r"\n#+ ", text)[0]


def commands(text: str) -> list[str]:
    """The commands of a text, in order; lines that go on are part of theirs."""
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    return [command.strip() for block in blocks for command in re.split(r"^\$ ", block, flags=re.MULTILINE) if command]
