"""A document of the specification as a table's rows see it: its sections, and the words in them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

import attrs

_HEADING = re.compile(r"#+ +(.+)")
_RULE = re.compile(r"\|[\s|:-]+\|")
_LIST_ITEM = re.compile(r"^ *(?:-|\d+\.) ")
#: what only says how words look
_MARKS = re.compile(r"[*`]")


@attrs.frozen
class Row:
    """A sentence, or a part of one, and where it is seen to hold."""

    section: str
    #: as it stands in the document
    text: str
    #: full names of tests, the most telling ones
    tests: tuple[str, ...] = attrs.field(default=(), converter=tuple)
    #: why it does not hold yet, or which part of it
    later: str = ""
    #: how it holds, where that is another way than the sentence says
    note: str = ""


def table(path: Path) -> list[Row]:
    """The rows of a table. Raises TypeError for a row with unknown members."""
    return [Row(**row) for row in tomllib.loads(path.read_text())["row"]]


def plain(text: str) -> str:
    """The words and signs of a text on one line, without markdown; a table's cells follow each other like words."""
    return " ".join(_MARKS.sub("", _LIST_ITEM.sub("", text)).replace("|", " ").split())


def sections(text: str) -> dict[str, str]:
    """The plain text under each heading of a document; headings of its tables are left out."""
    found: dict[str, list[str]] = {}
    lines = text.splitlines()
    heading = ""
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if match := _HEADING.fullmatch(line):
            heading = match[1]
        elif not _RULE.fullmatch(line) and not (line.startswith("|") and _RULE.fullmatch(following)):
            found.setdefault(heading, []).append(plain(line))
    return {name: " ".join(filter(None, words)) for name, words in found.items() if any(words)}


def strangers(document: Mapping[str, str], rows: Iterable[Row]) -> list[Row]:
    """The rows whose text is not in their section of the document."""
    return [row for row in rows if plain(row.text) not in document.get(row.section, "")]


def uncovered(document: Mapping[str, str], rows: Iterable[Row]) -> list[str]:
    """What is in the document and in none of the rows, section by section."""
    # a row that is a part of another one must not take the words out of it
    by_length = sorted(rows, key=lambda row: -len(row.text))
    left = []
    for name, text in document.items():
        rest = text
        for row in by_length:
            if row.section == name:
                rest = rest.replace(plain(row.text), "\n")
        left += [f"{name}: {words.strip()}" for words in rest.splitlines() if re.search(r"\w", words)]
    return left
