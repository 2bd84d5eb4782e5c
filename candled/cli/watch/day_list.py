"""Draw the list: one row a symbol, with its price and its last 24 hours."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import attrs
from rich.text import Text

from candled.cli.watch.day import WINDOW, DaySummary
from candled.cli.watch.model import Watch
from candled.cli.watch.values import DOUBT, DOWN, QUIET, UP, dimmed, show_price, show_short

MARK_NOT_LIVE: Final = "!"
_CURSOR: Final = "▸"
_GAPS: Final = (3, 2, 1)
"""Columns between two cells, widest first."""
_FULL: Final = WINDOW - timedelta(minutes=10)
"""Bars that cover this much cover the window: its first and its last bar may be under way."""
_SPARE: Final = ("quote volume", "volume", "low", "high", "24 h")
"""Columns that a narrow terminal lacks, the first to go first."""


@attrs.frozen
class _Cell:
    text: str
    style: str = ""


def draw_list(watch: Watch, width: int, height: int, *, dim: bool) -> list[Text]:
    """Draw the part of the list that has the cursor, with a head and, if it has more parts, a foot."""
    start, room = _part(watch, height)
    symbols = watch.symbols[start : start + room]
    rows = [_row(watch, symbol) for symbol in symbols]
    columns, gap = _fitting(rows, width)
    lines = [_line({name: _Cell(name, QUIET) for name in columns}, columns, gap, cursor=False, dim=False)]
    for place, row in enumerate(rows, start):
        lines.append(_line(row, columns, gap, cursor=place == watch.cursor, dim=dim))
    if len(symbols) < len(watch.symbols):
        foot = f" {start + 1} to {start + len(symbols)} of {len(watch.symbols)}"
        lines += [*[Text()] * (room - len(symbols)), Text(foot, style=QUIET)]
    return lines


def row_at(watch: Watch, height: int, line: int) -> int | None:
    """Return the index of the symbol on a line of the list, from 0 on; None if there is none."""
    start, room = _part(watch, height)
    index = start + line - 1
    return index if start <= index < min(start + room, len(watch.symbols)) else None


def _part(watch: Watch, height: int) -> tuple[int, int]:
    """Return the index of the first symbol that is shown, and for how many there is room."""
    room = max(height - 1, 1)
    if len(watch.symbols) > room:
        room = max(height - 2, 1)
    return watch.cursor // room * room, room


def _row(watch: Watch, symbol: str) -> dict[str, _Cell]:
    is_live = symbol not in watch.troubles
    name = _Cell(symbol, "bold") if is_live else _Cell(f"{symbol}{MARK_NOT_LIVE}", f"bold {DOUBT}")
    day = watch.day.summary(symbol)
    if day is None:
        return {"symbol": name, "last": _Cell("no bar yet", QUIET)}
    return {
        "symbol": name,
        "last": _Cell(show_price(day.last, day.decimals), {None: "bold", True: UP, False: DOWN}[day.rising]),
        "24 h": _change(day),
        "high": _Cell("" if day.high is None else show_price(day.high, day.decimals)),
        "low": _Cell("" if day.low is None else show_price(day.low, day.decimals)),
        "volume": _Cell(show_short(day.volume)),
        "quote volume": _Cell(show_short(day.quote_volume)),
    }


def _change(day: DaySummary) -> _Cell:
    if day.change_percent is None:
        return _Cell("")
    covered = "" if day.span >= _FULL else f"/{_span(day.span)}"
    return _Cell(f"{day.change_percent:+.2f}%{covered}", DOWN if day.change_percent < 0 else UP)


def _span(span: timedelta) -> str:
    minutes = round(span.total_seconds() / 60)
    return f"{minutes}m" if minutes < 90 else f"{round(minutes / 60)}h"


def _fitting(rows: Sequence[dict[str, _Cell]], width: int) -> tuple[dict[str, int], int]:
    """Return the columns that fit, with their widths, and the gap between them."""
    columns = {
        name: max(len(row[name].text) if name in row else 0 for row in ({name: _Cell(name)}, *rows))
        for name in ("symbol", "last", "24 h", "high", "low", "volume", "quote volume")
    }
    for left_out in range(len(_SPARE) + 1):
        kept = {name: wide for name, wide in columns.items() if name not in _SPARE[:left_out]}
        for gap in _GAPS:
            if len(_CURSOR) + sum(kept.values()) + gap * (len(kept) - 1) <= width:
                return kept, gap
    return kept, _GAPS[-1]


def _line(row: dict[str, _Cell], columns: dict[str, int], gap: int, *, cursor: bool, dim: bool) -> Text:
    line = Text(_CURSOR if cursor else " ", style="reverse" if cursor else "")
    for name, wide in columns.items():
        cell = row.get(name, _Cell(""))
        if name == "symbol":
            line.append(cell.text.ljust(wide), style=dimmed(cell.style, dim=dim))
        else:
            line.append(" " * gap).append(cell.text.rjust(wide), style=dimmed(cell.style, dim=dim))
    return line
