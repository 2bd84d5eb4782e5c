"""Draw the whole screen: a line of status, the view, a line of keys."""

from collections.abc import Sequence
from datetime import tzinfo
from typing import Final

from rich.text import Text

from candled.cli.watch.chart import MARK_INCOMPLETE, MARK_REVISED, chart_at, draw_charts
from candled.cli.watch.control import HELP
from candled.cli.watch.day_list import MARK_NOT_LIVE, draw_list, row_at
from candled.cli.watch.model import Trust, View, Watch
from candled.cli.watch.values import DOUBT, QUIET, UP

_ASCII: Final = str.maketrans("▁▂▃▄▅▆▇█▀│╵╷●○←→↑↓▸•", "__..::##'|',*o<>^v>-")
"""What stands for each drawn character where the terminal takes ASCII only."""
_KEYS: Final = {
    View.CHARTS: "←/→ symbol   l list   +/- interval   i SMA   ? help   q quit",
    View.LIST: "↑/↓ select   Enter chart   l charts   ? help   q quit",
    View.HELP: "? back   q quit",
}


def draw(watch: Watch, width: int, height: int, *, now: float, zone: tzinfo) -> list[Text]:
    """Draw the screen: ``height`` lines of at most ``width`` columns."""
    trust = watch.trust(now)
    room = max(height - 2, 0)
    match watch.view:
        case View.HELP:
            body = _help_lines()
        case View.LIST:
            body = draw_list(watch, width, room, dim=not trust.fresh)
        case View.CHARTS:
            body = draw_charts(watch, width, room, dim=not trust.fresh, zone=zone)
    lines = [_status_line(watch, trust, width), *body][: height - 1]
    lines += [Text()] * (height - 1 - len(lines))
    lines.append(_keys_line(watch.view, width))
    for line in lines:
        line.truncate(width)
    return lines


def symbol_at(watch: Watch, height: int, line: int) -> int | None:
    """Return the index of the symbol whose row or chart is drawn on a line of the screen; None if none is.

    Args:
        watch: What is drawn.
        height: Lines of the screen.
        line: From 0 on.
    """
    room = max(height - 2, 0)
    if not 1 <= line <= room:
        return None
    match watch.view:
        case View.LIST:
            return row_at(watch, room, line - 1)
        case View.CHARTS:
            return chart_at(watch, room, line - 1)
        case View.HELP:
            return None


def to_ascii(lines: Sequence[Text]) -> None:
    """Replace what a terminal without Unicode cannot show, each character by one."""
    for line in lines:
        line.plain = line.plain.translate(_ASCII).encode("ascii", "replace").decode("ascii")


def _status_line(watch: Watch, trust: Trust, width: int) -> Text:
    title = {View.CHARTS: watch.interval, View.LIST: "24 h", View.HELP: "help"}[watch.view]
    line = Text.assemble(("candled ", "bold"), (title, "bold"), "  ")
    line.append("● " if trust.fresh else "○ ", style=UP if trust.fresh else DOUBT)
    line.append(trust.text, style="" if trust.fresh else f"bold {DOUBT}")
    line.truncate(width)
    return line


def _keys_line(view: View, width: int) -> Text:
    line = Text(_KEYS[view], style=QUIET)
    marks = {
        View.CHARTS: ((MARK_INCOMPLETE, DOUBT, "incomplete"), (MARK_REVISED, "cyan", "revised")),
        View.LIST: ((MARK_NOT_LIVE, DOUBT, "not live"),),
        View.HELP: (),
    }[view]
    legend = Text("  ").join(
        Text.assemble((mark, style), (f" {meaning}", QUIET)) for mark, style, meaning in marks
    )
    space = width - line.cell_len - legend.cell_len
    return line.append(" " * space).append_text(legend) if space > 2 else line


def _help_lines() -> list[Text]:
    wide = max(len(keys) for keys, _ in HELP)
    return [Text(), *(Text.assemble((f"  {keys:<{wide}}  ", "bold"), meaning) for keys, meaning in HELP)]
