"""What each key does to the model, and the list of keys that ``?`` shows."""

from enum import Enum
from typing import Final

from candled.cli.watch.model import View, Watch

HELP: Final = (
    ("l", "list of all symbols; again: the charts"),
    ("Esc", "from a chart to the list"),
    ("Enter", "in the list: chart of the selected symbol"),
    ("↑ ↓  k j", "in the list: select a symbol"),
    ("← →  Tab", "in a chart: another symbol"),
    ("+ -  ↑ ↓", "in a chart: longer or shorter interval"),
    ("1 … 9", "chart of that symbol"),
    ("a", "charts of all symbols"),
    ("i", "in a chart: SMA 20, EMA 50, VWAP, none"),
    ("mouse", "click: a row, a chart; wheel: select a row"),
    ("m", "leave the mouse to the terminal, or take it"),
    ("?", "this help; ? Esc Enter close it"),
    ("q  Ctrl-C", "quit"),
    ("", ""),
    ("24 h", "last 24 hours, to 5 minutes; -1.2%/3h:"),
    ("", "the history has 3 hours"),
)
"""Keys and their meaning, for a person; no line is longer than 46 characters, for 60 columns."""


class Effect(Enum):
    """What the screen has to do after a key, besides drawing."""

    NOTHING = "nothing"
    QUIT = "quit"
    OTHER_INTERVAL = "other interval"
    """The bars of another interval are to be streamed."""
    OTHER_MOUSE = "other mouse"
    """The mouse is to be left to the terminal, or taken."""


def obey(watch: Watch, key: str) -> Effect:
    """Change the view as a key says."""
    if key == "q":
        return Effect.QUIT
    if key == "m":
        return Effect.OTHER_MOUSE
    match watch.view:
        case View.HELP:
            if key in ("?", "escape", "enter"):
                watch.close_help()
            return Effect.NOTHING
        case View.LIST if _obey_in_list(watch, key):
            return Effect.NOTHING
        case View.CHARTS if (by := {"+": 1, "=": 1, "up": 1, "-": -1, "down": -1}.get(key)) is not None:
            return Effect.OTHER_INTERVAL if watch.other_interval(by) else Effect.NOTHING
        case View.CHARTS if key == "i":
            watch.indicator = watch.indicator.next
            return Effect.NOTHING
    match key:
        case "?":
            watch.open_help()
        case "l":
            watch.list_symbols(view=View.CHARTS if watch.view is View.LIST else View.LIST)
        case "escape":
            watch.list_symbols()
        case "right" | "\t":
            watch.step(1)
        case "left":
            watch.step(-1)
        case "a":
            watch.select(None)
        case _ if key.isdigit():
            watch.select(int(key) - 1)
    return Effect.NOTHING


def _obey_in_list(watch: Watch, key: str) -> bool:
    match key:
        case "down" | "j" | "wheel down":
            watch.move_cursor(1)
        case "up" | "k" | "wheel up":
            watch.move_cursor(-1)
        case "enter":
            watch.select(watch.cursor)
        case "left" | "right" | "\t":
            pass  # of charts
        case _:
            return False
    return True


def obey_click(watch: Watch, symbol: int | None) -> None:
    """Change the view as a click says: it opens the chart of a symbol, or closes the help.

    Args:
        watch: The model.
        symbol: Index of the symbol whose row or chart was clicked; None: no symbol's.
    """
    if watch.view is View.HELP:
        watch.close_help()
    elif symbol is not None:
        watch.select(symbol)
