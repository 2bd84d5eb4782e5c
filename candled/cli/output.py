"""Write rows as a table, CSV or JSON. Decimals stay exact: strings in plain notation, never floats."""

import csv
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from functools import partial
from itertools import chain, islice
from typing import Any, Final, TextIO

from candled.cli.times import show_time

ROWS_AT_ONCE: Final = 2000
"""Rows of a table that share column widths: long results are printed in pages of them."""


def write_rows(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    form: str,
    *,
    zone: tzinfo = UTC,
    out: TextIO | None = None,
    width: int | None = None,
    spare: Sequence[str] = (),
) -> int:
    """Write rows and return their number.

    Args:
        columns: their names.
        rows: values in the order of the columns.
        form: ``table``, ``csv`` or ``json`` (one array of objects).
        zone: time zone in which times are shown.
        out: standard output by default.
        width: characters of a line of the table; None: any number.
        spare: columns to leave out of a table that is wider, the first ones first.
    """
    writers: dict[str, Callable[..., int]] = {
        "table": partial(_write_table, width=width, spare=spare),
        "csv": _write_csv,
        "json": _write_json,
    }
    rows = iter(rows)
    first = list(islice(rows, 1))  # before any heading: an error in the first row prints nothing
    return writers[form](columns, chain(first, rows), zone, out or sys.stdout)


def terminal_width() -> int | None:
    """Return the width of the terminal that standard output is, in characters; None where it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _write_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]], zone: tzinfo, out: TextIO) -> int:
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    count = 0
    for row in rows:
        count += 1
        writer.writerow(["" if value is None else _text(value, zone) for value in row])
    return count


def _write_json(columns: Sequence[str], rows: Iterable[Sequence[Any]], zone: tzinfo, out: TextIO) -> int:
    count = 0
    out.write("[")
    for row in rows:
        out.write(",\n " if count else "\n ")
        count += 1
        document = {name: plain_value(value, zone) for name, value in zip(columns, row, strict=True)}
        out.write(json.dumps(document, ensure_ascii=False))
    out.write("\n]\n" if count else "]\n")
    return count


def _write_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    zone: tzinfo,
    out: TextIO,
    *,
    width: int | None,
    spare: Sequence[str],
) -> int:
    rows = iter(rows)
    count = 0
    left_out: set[str] | None = None
    while page := list(islice(rows, ROWS_AT_ONCE)):
        count += len(page)
        right = [any(isinstance(row[i], int | float | Decimal) for row in page) for i in range(len(columns))]
        cells = list(zip(*(_column([row[i] for row in page], zone) for i in range(len(columns))), strict=True))
        heading = [tuple(columns)] if count == len(page) else []
        widths = [max(len(cell) for cell in column) for column in zip(*chain(heading, cells), strict=True)]
        if left_out is None:  # the first page decides, so that all pages have the same columns
            left_out = _too_wide(dict(zip(columns, widths, strict=True)), width, spare)
        kept = [i for i, name in enumerate(columns) if name not in left_out]
        for line in chain(heading, cells):
            padded = (
                cell.rjust(size) if align else cell.ljust(size)
                for cell, size, align in ((line[i], widths[i], right[i]) for i in kept)
            )
            out.write("  ".join(padded).rstrip() + "\n")
    if not count:
        out.write("  ".join(columns) + "\n")
    return count


def _too_wide(widths: Mapping[str, int], width: int | None, spare: Sequence[str]) -> set[str]:
    """Return the columns to leave out so that a line fits, as far as the spare ones allow."""
    left_out: set[str] = set()
    for name in spare:
        line = sum(size + 2 for column, size in widths.items() if column not in left_out) - 2
        if width is None or line <= width:
            break
        left_out.add(name)
    return left_out


def _column(values: Sequence[Any], zone: tzinfo) -> list[str]:
    """Format the cells of one column; decimals are aligned, without trailing zeros that none of them needs."""
    decimals = max((_decimals(value) for value in values if isinstance(value, Decimal)), default=0)
    return [
        f"{value:.{decimals}f}"
        if isinstance(value, Decimal)
        else show_time(value, zone)
        if isinstance(value, datetime)
        else ""
        if value is None
        else _text(value, zone)
        for value in values
    ]


def _decimals(value: Decimal) -> int:
    _, _, fraction = f"{value:f}".partition(".")
    return len(fraction.rstrip("0"))


def _text(value: Any, zone: tzinfo) -> str:
    plain = plain_value(value, zone)
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def plain_value(value: Any, zone: tzinfo) -> Any:
    """Convert a value for JSON: decimals are strings in plain notation, times are ISO 8601."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if value == value and abs(value) != float("inf") else str(value)
        case Decimal():
            return f"{value:f}"
        case datetime():
            return (value if value.tzinfo is None else value.astimezone(zone)).isoformat()
        case date():
            return value.isoformat()
        case dict():
            return {str(key): plain_value(item, zone) for key, item in value.items()}
        case list() | tuple():
            return [plain_value(item, zone) for item in value]
        case bytes():
            return value.hex()
        case _:
            return str(value)
