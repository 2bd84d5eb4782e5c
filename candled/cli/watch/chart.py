"""Draw candles and volume with block characters: from bars to lines of styled text.

A character cell is two half rows high for prices and eight eighths for volume. Floats are used for positions on
the screen only; every printed number comes from the exact decimals.
"""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from decimal import Decimal
from itertools import accumulate
from typing import Final

from rich.text import Text

from candled.cli.watch.indicators import Indicator, values
from candled.cli.watch.model import Watch
from candled.cli.watch.values import (
    AVERAGE,
    DOUBT,
    DOWN,
    QUIET,
    UP,
    count_decimals,
    dimmed,
    show_price,
    show_short,
)
from candled.client import Bar

PITCH: Final = 2
"""Columns of each candle: the candle and a space."""

_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
_PANE_HEIGHT_MIN: Final = 7
MARK_INCOMPLETE: Final = "?"
MARK_REVISED: Final = "*"


def draw_charts(watch: Watch, width: int, height: int, *, dim: bool, zone: tzinfo) -> list[Text]:
    """Draw the shown symbols one below the other: as candles, or where there is no room, a line each."""
    shown = watch.shown
    lines: list[Text] = []
    if heights := _pane_heights(len(shown), height):
        for symbol, tall in zip(shown, heights, strict=True):
            lines += _pane(watch, symbol, width, tall, dim=dim, zone=zone)
        return lines
    lines += [_row(watch.bars(symbol), symbol, width) for symbol in shown[:height]]
    if len(shown) > height:
        lines[-1:] = [Text(f"and {len(shown) - height + 1} more: press l for a list", style=QUIET)]
    return lines


def chart_at(watch: Watch, height: int, line: int) -> int | None:
    """Return the index of the symbol that is drawn on a line of the charts, from 0 on; None if none is."""
    heights = _pane_heights(len(watch.shown), height) or [1] * min(len(watch.shown), height)
    ends = list(accumulate(heights))
    if not ends or line >= ends[-1]:
        return None
    place = next(place for place, end in enumerate(ends) if line < end)
    return place if watch.selected is None else watch.selected


def _pane_heights(count: int, height: int) -> list[int]:
    """Return the lines of each pane; empty if they do not fit."""
    if count == 0 or height // count < _PANE_HEIGHT_MIN:
        return []
    share, extra = divmod(height, count)
    return [share + (1 if place < extra else 0) for place in range(count)]


def _pane(watch: Watch, symbol: str, width: int, height: int, *, dim: bool, zone: tzinfo) -> list[Text]:
    """Draw one symbol: a title, candles with a price axis, marks, volume, times."""
    bars = watch.bars(symbol)
    if not bars:
        waiting = Text.assemble((symbol, "bold"), (f"  no {watch.interval} bar yet", QUIET))
        return [waiting, *[Text()] * (height - 1)]
    decimals = max(count_decimals(bar.close) for bar in bars[-50:])
    decimals = max(decimals, *(count_decimals(bar.open) for bar in bars[-50:]))
    labels_width = max(len(show_price(max(bar.high for bar in bars), decimals)), 6) + 1
    count = max((width - labels_width) // PITCH, 1)
    seen = bars[-count:]
    volume_rows = 3 if height >= 16 else 2 if height >= 10 else 1
    time_rows = 1 if height >= 9 else 0
    candle_rows = height - 2 - volume_rows - time_rows
    averages = values(watch.indicator, bars)
    average = None if watch.indicator is Indicator.NONE else (watch.indicator.value, averages[-1])
    lines = [_title(bars, symbol, decimals, width, zone, average)]
    lines += _candles(seen, averages[-count:], candle_rows, labels_width, decimals, width, dim=dim)
    lines.append(_marks(seen, dim=dim))
    lines += _volumes(seen, volume_rows, dim=dim)
    if time_rows:
        lines.append(_times(seen, width - labels_width, zone))
    return lines


def _title(
    bars: Sequence[Bar],
    symbol: str,
    decimals: int,
    width: int,
    zone: tzinfo,
    average: tuple[str, Decimal | None] | None,
) -> Text:
    """Describe the newest bar, as far as there is room; a number is never truncated.

    Args:
        bars: Of the symbol, at least one.
        symbol: Its name.
        decimals: Of its prices.
        width: Columns of the screen.
        zone: Time zone.
        average: Name and newest value of what is drawn over the candles.
    """
    bar = bars[-1]
    line = Text.assemble((symbol, "bold"), "  ", (show_price(bar.close, decimals), f"bold {_style(bar)}"))
    parts = [Text(f"{bar.open_time.astimezone(zone):%H:%M}", style=QUIET)]
    if bar.closed and not bar.complete:
        parts.append(Text("incomplete", style=DOUBT))
    if average is not None:
        name, value = average
        shown = "too few bars" if value is None else show_price(value, decimals)
        parts.append(Text.assemble((f"{name} ", AVERAGE), shown))
    for name, text in (
        ("O", show_price(bar.open, decimals)),
        ("H", show_price(bar.high, decimals)),
        ("L", show_price(bar.low, decimals)),
        ("vol", show_short(bar.volume)),
        ("trades", f"{bar.trade_count:,}"),
    ):
        parts.append(Text.assemble((f"{name} ", QUIET), text))
    if bar.revision:
        parts.append(Text(f"revision {bar.revision}", style="cyan"))
    for part in parts:
        if line.cell_len + 2 + part.cell_len > width:
            break
        line.append("  ").append_text(part)
    return line


def _candles(
    bars: Sequence[Bar],
    averages: Sequence[Decimal | None],
    rows: int,
    labels_width: int,
    decimals: int,
    width: int,
    *,
    dim: bool,
) -> list[Text]:
    top, bottom = max(bar.high for bar in bars), min(bar.low for bar in bars)
    halves = rows * 2
    span = top - bottom

    def half(price: Decimal) -> int:
        """Return the half row of a price, 0 at the top."""
        return round(float((top - price) / span) * (halves - 1)) if span else halves // 2

    columns = []
    for bar, average in zip(bars, averages, strict=True):
        body = half(max(bar.open, bar.close)), half(min(bar.open, bar.close))
        dotted = half(average) // 2 if average is not None and bottom <= average <= top else None
        columns.append(((half(bar.high), half(bar.low)), body, dimmed(_style(bar), dim=dim), dotted))
    lines = []
    for row in range(rows):
        line = Text()
        for wick, body, style, dotted in columns:
            line.append(_cell(wick, body, row * 2), style=style)
            line.append("•" if dotted == row else " ", style=dimmed(AVERAGE, dim=dim)).append(" " * (PITCH - 2))
        line.append(" " * (width - labels_width - line.cell_len))
        lines.append(line)
    newest = bars[-1]
    labelled = {0: (top, QUIET), rows - 1: (bottom, QUIET)}
    if rows >= 9 and span:
        labelled[rows // 2] = (top - span * (rows // 2 * 2 + 1) / (halves - 1), QUIET)
    labelled[half(newest.close) // 2] = (newest.close, f"bold {_style(newest)}")
    for row, (price, style) in labelled.items():
        lines[row].append(show_price(price, decimals).rjust(labels_width), style=style)
    return lines


def _cell(wick: tuple[int, int], body: tuple[int, int], upper: int) -> str:
    """Return the character of a candle in the cell whose upper half row is ``upper``."""
    in_body = [body[0] <= half <= body[1] for half in (upper, upper + 1)]
    if any(in_body):
        return "█" if all(in_body) else "▀" if in_body[0] else "▄"
    in_wick = [wick[0] <= half <= wick[1] for half in (upper, upper + 1)]
    return "│" if all(in_wick) else "╵" if in_wick[0] else "╷" if in_wick[1] else " "


def _marks(bars: Sequence[Bar], *, dim: bool) -> Text:
    line = Text()
    for bar in bars:
        if bar.closed and not bar.complete:
            line.append(MARK_INCOMPLETE, style=dimmed(DOUBT, dim=dim))
        elif bar.revision:
            line.append(MARK_REVISED, style=dimmed("cyan", dim=dim))
        else:
            line.append(" ")
        line.append(" " * (PITCH - 1))
    return line


def _volumes(bars: Sequence[Bar], rows: int, *, dim: bool) -> list[Text]:
    volume_max = max(bar.volume for bar in bars)
    lines = []
    for row in range(rows):
        base = (rows - 1 - row) * 8
        line = Text()
        for bar in bars:
            eighths = round(float(bar.volume / volume_max) * rows * 8) if volume_max else 0
            if bar.volume and eighths == 0:
                eighths = 1  # some trades: never drawn as none
            line.append(_EIGHTHS[min(max(eighths - base, 0), 8)], style=dimmed(_style(bar), dim=dim))
            line.append(" " * (PITCH - 1))
        lines.append(line)
    return lines


def _times(bars: Sequence[Bar], width: int, zone: tzinfo) -> Text:
    long = (bars[-1].open_time - bars[0].open_time).days >= 2
    line = Text(style=QUIET)
    for place, bar in enumerate(bars):
        column = place * PITCH
        label = _time_label(bar.open_time.astimezone(zone), long=long)
        if (
            column >= line.cell_len + (2 if line.cell_len else 0)
            and column + len(label) <= width
            and place % 5 == 0
        ):
            line.append(" " * (column - line.cell_len)).append(label)
    return line


def _time_label(moment: datetime, *, long: bool) -> str:
    return f"{moment:%d %b}" if long else f"{moment:%H:%M}"


def _row(bars: Sequence[Bar], symbol: str, width: int) -> Text:
    """Draw one symbol as one line, where there is no room for a pane: last price, and closes as blocks."""
    line = Text.assemble((f"{symbol:<12}", "bold"))
    if not bars:
        return line.append(" no bar yet", style=QUIET)
    bar = bars[-1]
    line.append(f" {show_price(bar.close, count_decimals(bar.close)):>16} ", style=_style(bar))
    line.append(MARK_INCOMPLETE if bar.closed and not bar.complete else " ", style=DOUBT).append(" ")
    seen = bars[-max(width - line.cell_len, 1) :]
    top, bottom = max(one.close for one in seen), min(one.close for one in seen)
    for one in seen:
        level = 1 + round(float((one.close - bottom) / (top - bottom)) * 7) if top > bottom else 4
        line.append(_EIGHTHS[level], style=_style(one))
    return line


def _style(bar: Bar) -> str:
    return UP if bar.close >= bar.open else DOWN
