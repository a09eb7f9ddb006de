"""What commands print: tables, durations and sizes for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def as_table(rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines with columns as wide as they must be. What a terminal would obey (identifiers are hostile) becomes `?`."""
    cells = [["".join(c if c.isprintable() else "?" for c in str(cell)) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def ago(then_ms: int, now_ms: int) -> str:
    """How long ago that was, roughly; 0: never."""
    if not then_ms:
        return "never"
    minutes = max(now_ms - then_ms, 0) // 60_000
    if minutes < 120:
        return f"{minutes} min ago"
    return f"{minutes // 60} h ago" if minutes < 48 * 60 else f"{minutes // (24 * 60)} d ago"


def size(count: int) -> str:
    """Bytes, roughly."""
    number, unit = float(count), 0
    while number >= 1024 and unit < len(_UNITS) - 1:
        number, unit = number / 1024, unit + 1
    return f"{number:.0f} {_UNITS[unit]}" if unit == 0 else f"{number:.1f} {_UNITS[unit]}"
