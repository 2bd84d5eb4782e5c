"""Draw candles and volume with block characters: bars in, lines of styled text out.

Each character cell is two half rows high for prices and eight eighths for volume. Floats are used for places on
the screen only; every number that is written comes from the exact decimals.
"""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from decimal import Decimal
from typing import Final

from rich.text import Text

from candled.cli.watch.model import Trust, Watch
from candled.client import Bar

UP: Final = "green"
DOWN: Final = "red"
DOUBT: Final = "yellow"
QUIET: Final = "bright_black"

PITCH: Final = 2
"""Columns for each candle: the candle and a gap."""

_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
_PANE_HEIGHT_MIN: Final = 7
_MARK_INCOMPLETE: Final = "?"
_MARK_REVISED: Final = "*"


def draw(watch: Watch, width: int, height: int, *, now: float, zone: tzinfo) -> list[Text]:
    """The whole screen: ``height`` lines of at most ``width`` columns."""
    trust = watch.trust(now)
    lines = [_status_line(watch, trust, width)]
    room = height - 2
    shown = watch.shown
    if shown and room // len(shown) >= _PANE_HEIGHT_MIN:
        share, extra = divmod(room, len(shown))
        for index, symbol in enumerate(shown):
            tall = share + (1 if index < extra else 0)
            lines += _pane(watch.bars(symbol), symbol, watch.interval, width, tall, trust, zone)
    else:
        lines += [_row(watch.bars(symbol), symbol, width) for symbol in shown[:room]]
        if len(shown) > room:
            lines[-1] = Text(f"and {len(shown) - room + 1} more: press a number or → to see one", style=QUIET)
    lines = lines[: height - 1]
    lines += [Text()] * (height - 1 - len(lines))
    lines.append(_keys_line(width))
    for line in lines:
        line.truncate(width)
    return lines


def _status_line(watch: Watch, trust: Trust, width: int) -> Text:
    line = Text.assemble(("candled ", "bold"), (watch.interval, "bold"), "  ")
    line.append("● " if trust.fresh else "○ ", style=UP if trust.fresh else DOUBT)
    line.append(trust.text, style="" if trust.fresh else f"bold {DOUBT}")
    line.truncate(width)
    return line


def _keys_line(width: int) -> Text:
    line = Text("←/→ symbol   a all   +/- interval   q quit", style=QUIET)
    legend = Text.assemble(
        (_MARK_INCOMPLETE, DOUBT), (" incomplete  ", QUIET), (_MARK_REVISED, "cyan"), (" revised", QUIET)
    )
    space = width - line.cell_len - legend.cell_len
    return line.append(" " * space).append_text(legend) if space > 2 else line


def _pane(
    bars: Sequence[Bar], symbol: str, interval: str, width: int, height: int, trust: Trust, zone: tzinfo
) -> list[Text]:
    """One symbol: a title, candles with a price axis, marks, volume, times."""
    if not bars:
        waiting = Text.assemble((symbol, "bold"), (f"  no {interval} bar yet", QUIET))
        return [waiting, *[Text()] * (height - 1)]
    decimals = max(_decimals(bar.close) for bar in bars[-50:])
    decimals = max(decimals, *(_decimals(bar.open) for bar in bars[-50:]))
    labels_width = max(len(_price(max(bar.high for bar in bars), decimals)), 6) + 1
    count = max((width - labels_width) // PITCH, 1)
    seen = bars[-count:]
    volume_rows = 3 if height >= 16 else 2 if height >= 10 else 1
    time_rows = 1 if height >= 9 else 0
    candle_rows = height - 2 - volume_rows - time_rows
    dim = not trust.fresh
    lines = [_title(bars, symbol, decimals, width, zone)]
    lines += _candles(seen, candle_rows, labels_width, decimals, width, dim=dim)
    lines.append(_marks(seen, dim=dim))
    lines += _volumes(seen, volume_rows, dim=dim)
    if time_rows:
        lines.append(_times(seen, width - labels_width, zone))
    return lines


def _title(bars: Sequence[Bar], symbol: str, decimals: int, width: int, zone: tzinfo) -> Text:
    """The newest bar in words and numbers, as much of it as there is room for; a number is never cut."""
    bar = bars[-1]
    line = Text.assemble((symbol, "bold"), "  ", (_price(bar.close, decimals), f"bold {_style(bar)}"))
    parts = [Text(f"{bar.open_time.astimezone(zone):%H:%M}", style=QUIET)]
    if bar.closed and not bar.complete:
        parts.append(Text("incomplete", style=DOUBT))
    for name, value in (
        ("O", _price(bar.open, decimals)),
        ("H", _price(bar.high, decimals)),
        ("L", _price(bar.low, decimals)),
        ("vol", _short(bar.volume)),
        ("trades", f"{bar.trade_count:,}"),
    ):
        parts.append(Text.assemble((f"{name} ", QUIET), value))
    if bar.revision:
        parts.append(Text(f"revision {bar.revision}", style="cyan"))
    for part in parts:
        if line.cell_len + 2 + part.cell_len > width:
            break
        line.append("  ").append_text(part)
    return line


def _candles(
    bars: Sequence[Bar], rows: int, labels_width: int, decimals: int, width: int, *, dim: bool
) -> list[Text]:
    top, bottom = max(bar.high for bar in bars), min(bar.low for bar in bars)
    halves = rows * 2
    span = top - bottom

    def half(price: Decimal) -> int:
        """The half row of a price, 0 at the top."""
        return round(float((top - price) / span) * (halves - 1)) if span else halves // 2

    columns = []
    for bar in bars:
        body = half(max(bar.open, bar.close)), half(min(bar.open, bar.close))
        columns.append(((half(bar.high), half(bar.low)), body, _dim(_style(bar), dim=dim)))
    lines = []
    for row in range(rows):
        line = Text()
        for wick, body, style in columns:
            line.append(_cell(wick, body, row * 2), style=style).append(" " * (PITCH - 1))
        line.append(" " * (width - labels_width - line.cell_len))
        lines.append(line)
    newest = bars[-1]
    labelled = {0: (top, QUIET), rows - 1: (bottom, QUIET)}
    if rows >= 9 and span:
        labelled[rows // 2] = (top - span * (rows // 2 * 2 + 1) / (halves - 1), QUIET)
    labelled[half(newest.close) // 2] = (newest.close, f"bold {_style(newest)}")
    for row, (price, style) in labelled.items():
        lines[row].append(_price(price, decimals).rjust(labels_width), style=style)
    return lines


def _cell(wick: tuple[int, int], body: tuple[int, int], upper: int) -> str:
    """The character of a candle in the cell whose upper half row is ``upper``."""
    in_body = [body[0] <= half <= body[1] for half in (upper, upper + 1)]
    if any(in_body):
        return "█" if all(in_body) else "▀" if in_body[0] else "▄"
    in_wick = [wick[0] <= half <= wick[1] for half in (upper, upper + 1)]
    return "│" if all(in_wick) else "╵" if in_wick[0] else "╷" if in_wick[1] else " "


def _marks(bars: Sequence[Bar], *, dim: bool) -> Text:
    line = Text()
    for bar in bars:
        if bar.closed and not bar.complete:
            line.append(_MARK_INCOMPLETE, style=_dim(DOUBT, dim=dim))
        elif bar.revision:
            line.append(_MARK_REVISED, style=_dim("cyan", dim=dim))
        else:
            line.append(" ")
        line.append(" " * (PITCH - 1))
    return line


def _volumes(bars: Sequence[Bar], rows: int, *, dim: bool) -> list[Text]:
    most = max(bar.volume for bar in bars)
    lines = []
    for row in range(rows):
        base = (rows - 1 - row) * 8
        line = Text()
        for bar in bars:
            eighths = round(float(bar.volume / most) * rows * 8) if most else 0
            if bar.volume and eighths == 0:
                eighths = 1  # a trade took place: never drawn as if there were none
            line.append(_EIGHTHS[min(max(eighths - base, 0), 8)], style=_dim(_style(bar), dim=dim))
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
    """One symbol as one line, where there is no room for more: last price, and the closes as a row of blocks."""
    line = Text.assemble((f"{symbol:<12}", "bold"))
    if not bars:
        return line.append(" no bar yet", style=QUIET)
    bar = bars[-1]
    line.append(f" {_price(bar.close, _decimals(bar.close)):>16} ", style=_style(bar))
    line.append(_MARK_INCOMPLETE if bar.closed and not bar.complete else " ", style=DOUBT).append(" ")
    seen = bars[-max(width - line.cell_len, 1) :]
    top, bottom = max(one.close for one in seen), min(one.close for one in seen)
    for one in seen:
        level = 1 + round(float((one.close - bottom) / (top - bottom)) * 7) if top > bottom else 4
        line.append(_EIGHTHS[level], style=_style(one))
    return line


def _style(bar: Bar) -> str:
    return UP if bar.close >= bar.open else DOWN


def _dim(style: str, *, dim: bool) -> str:
    return f"dim {style}" if dim else style


def _decimals(value: Decimal) -> int:
    _, _, fraction = f"{value:f}".partition(".")
    return len(fraction.rstrip("0"))


def _price(value: Decimal, decimals: int) -> str:
    return f"{value:,.{decimals}f}"


def _short(value: Decimal) -> str:
    """A volume for a title: rounded to what fits there."""
    number = value
    for unit in ("", "k", "M", "G", "T"):
        if number < 1000 or unit == "T":
            return f"{number:.3f}".rstrip("0").rstrip(".") + unit if number < 1 else f"{number:.4g}{unit}"
        number /= 1000
    raise AssertionError("the loop ends at its last unit")
