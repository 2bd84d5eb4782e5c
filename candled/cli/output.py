"""Write rows as a table, CSV or JSON. Decimals stay exact: strings in plain notation, never floats."""

import csv
import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from itertools import chain, islice
from typing import Any, Final, TextIO

from candled.cli.times import show_time

ROWS_AT_ONCE: Final = 2000
"""Rows laid out together in a table: column widths come from these, so that long results stream."""


def write_rows(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    form: str,
    *,
    zone: tzinfo = UTC,
    out: TextIO | None = None,
) -> int:
    """Write rows and return how many there were.

    Arguments:
        columns: their names.
        rows: values in the order of the columns.
        form: ``table``, ``csv`` or ``json`` (one array of objects).
        zone: the zone that times are shown in.
        out: standard output by default.
    """
    write = {"table": _write_table, "csv": _write_csv, "json": _write_json}[form]
    rows = iter(rows)
    first = list(islice(rows, 1))  # before any heading, so that an error in making rows leaves nothing behind
    return write(columns, chain(first, rows), zone, out or sys.stdout)


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


def _write_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], zone: tzinfo, out: TextIO) -> int:
    rows = iter(rows)
    count = 0
    while page := list(islice(rows, ROWS_AT_ONCE)):
        count += len(page)
        right = [any(isinstance(row[i], int | float | Decimal) for row in page) for i in range(len(columns))]
        cells = list(zip(*(_column([row[i] for row in page], zone) for i in range(len(columns))), strict=True))
        heading = [tuple(columns)] if count == len(page) else []
        widths = [max(len(cell) for cell in column) for column in zip(*chain(heading, cells), strict=True)]
        for line in chain(heading, cells):
            padded = (
                cell.rjust(width) if align else cell.ljust(width)
                for cell, width, align in zip(line, widths, right, strict=True)
            )
            out.write("  ".join(padded).rstrip() + "\n")
    if not count:
        out.write("  ".join(columns) + "\n")
    return count


def _column(values: Sequence[Any], zone: tzinfo) -> list[str]:
    """Cells of one column; decimals line up and drop zeros that none of them needs."""
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
    """What JSON can say: decimals as strings in plain notation, times in ISO form."""
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
