"""State of ``candled watch``: bars, connection, and whether they are current. No clock, no I/O."""

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Final

import attrs

from candled.cli.watch.day import Day
from candled.cli.watch.indicators import Indicator
from candled.client import Bar
from candled.domain.interval import INTERVALS

SILENCE_SECONDS_MAX: Final = 20.0
"""Seconds without a message after which the screen is stale: a daemon sends a heartbeat after 15 s."""

BARS_MAX: Final = 400
"""Bars in memory of each symbol: more than a terminal has columns."""


class Connection(Enum):
    """State of the daemon's stream."""

    CONNECTING = "connecting"
    LIVE = "live"
    LOST = "lost"


class View(Enum):
    """What the screen shows."""

    CHARTS = "charts"
    LIST = "list"
    HELP = "help"


@attrs.frozen
class Trust:
    """Whether the screen is current, and a text that says so."""

    fresh: bool
    text: str


@attrs.define
class Watch:
    """The bars of each symbol in one interval, and the state of the connection."""

    symbols: tuple[str, ...]
    interval: str
    connection: Connection = Connection.CONNECTING
    problem: str = ""
    """Why the connection was lost."""
    loading: bool = False
    """Whether past bars are still arriving: the newest bar on the screen is not the present one."""
    last_message: float | None = None
    """Monotonic time of the last message, in seconds."""
    troubles: dict[str, str] = attrs.field(factory=dict)
    """Symbols whose stream is not live, and why, from the daemon's status."""
    selected: int | None = None
    """Index of the one symbol whose chart is shown; None for all."""
    view: View = View.CHARTS
    indicator: Indicator = Indicator.NONE
    """Drawn over the candles of every chart."""
    cursor: int = 0
    """Index of the symbol that is selected in the list."""
    day: Day = attrs.field(factory=Day)
    """What the list shows."""
    _behind_help: View = View.CHARTS
    _bars: dict[str, list[Bar]] = attrs.field(factory=dict)

    @property
    def shown(self) -> tuple[str, ...]:
        """The symbols whose charts are shown."""
        return self.symbols if self.selected is None else (self.symbols[self.selected],)

    def bars(self, symbol: str) -> Sequence[Bar]:
        """Return the bars of a symbol, oldest first; the last one may be forming."""
        return self._bars.get(symbol, ())

    def take(self, bar: Bar) -> None:
        """Insert a bar by its open time, or replace the bar of that time."""
        bars = self._bars.setdefault(bar.symbol, [])
        place = len(bars)
        while place and bars[place - 1].open_time > bar.open_time:
            place -= 1
        if place and bars[place - 1].open_time == bar.open_time:
            bars[place - 1] = bar
            return
        bars.insert(place, bar)
        if len(bars) > BARS_MAX:
            del bars[0]

    def take_history(self, bars: Iterable[Bar]) -> None:
        """Insert closed bars from the history; bars of the stream are newer and stay."""
        for bar in bars:
            known = {one.open_time for one in self._bars.get(bar.symbol, ())}
            if bar.open_time not in known:
                self.take(bar)

    def message_received(self, now: float) -> None:
        """Note a message of the daemon, be it a heartbeat."""
        self.last_message = now
        self.connection = Connection.LIVE
        self.problem = ""

    def lost(self, problem: str) -> None:
        """Note that the stream ended, and why."""
        self.connection = Connection.LOST
        self.problem = problem

    def forget_bars(self) -> None:
        """Drop every bar, for another interval or a new connection."""
        self._bars.clear()

    def trust(self, now: float) -> Trust:
        """Return whether the screen is current at ``now``, in monotonic seconds."""
        silence = None if self.last_message is None else now - self.last_message
        match self.connection:
            case Connection.CONNECTING:
                return Trust(fresh=False, text="connecting ...")
            case Connection.LOST:
                age = "" if silence is None else f", {_age(silence)} old"
                return Trust(fresh=False, text=f"STALE{age}: {self.problem or 'connection lost'}; reconnecting")
            case Connection.LIVE:
                if silence is not None and silence > SILENCE_SECONDS_MAX:
                    return Trust(fresh=False, text=f"STALE: the daemon has been silent for {_age(silence)}")
        if self.day.loading if self.view is View.LIST else self.loading:
            return Trust(fresh=False, text="loading ...")
        if self.view is View.LIST:
            return self._trust_in_list()
        troubled = [symbol for symbol in self.shown if symbol in self.troubles]
        if troubled:
            return Trust(fresh=False, text=f"STALE: {'; '.join(self.troubles[symbol] for symbol in troubled)}")
        return Trust(fresh=True, text="live")

    def _trust_in_list(self) -> Trust:
        """Return whether the list is current: it is while some symbol is, as each row has its own mark."""
        count = sum(symbol in self.troubles for symbol in self.symbols)
        if count == 0:
            return Trust(fresh=True, text="live")
        text = f"{count} of {len(self.symbols)} symbols not live"
        if count < len(self.symbols):
            return Trust(fresh=True, text=f"live, {text}")
        return Trust(fresh=False, text=f"STALE: {text}")

    def list_symbols(self, view: View = View.LIST) -> None:
        """Show the list, or leave it for another view; the symbol whose chart was shown is selected."""
        self.view = view
        if view is View.LIST and self.selected is not None:
            self.cursor = self.selected

    def move_cursor(self, by: int) -> None:
        """Select a symbol further down (1) or up (-1) in the list; it stops at the ends."""
        self.cursor = min(max(self.cursor + by, 0), max(len(self.symbols) - 1, 0))

    def open_help(self) -> None:
        """Show the keys."""
        self._behind_help = self.view
        self.view = View.HELP

    def close_help(self) -> None:
        """Show again what the help covered."""
        self.view = self._behind_help

    def select(self, index: int | None) -> None:
        """Show the chart of one symbol by its index, or all charts with None."""
        if index is None or 0 <= index < len(self.symbols):
            self.selected = index
            self.view = View.CHARTS

    def step(self, by: int) -> None:
        """Show the next (1) or previous (-1) symbol; from all, the first or the last."""
        count = len(self.symbols)
        if count == 0:
            return
        if self.selected is None:
            self.selected = 0 if by > 0 else count - 1
        else:
            self.selected = (self.selected + by) % count

    def other_interval(self, by: int) -> bool:
        """Change to the next longer (1) or shorter (-1) interval; False if there is none."""
        names = list(INTERVALS)
        place = names.index(self.interval) + by
        if not 0 <= place < len(names):
            return False
        self.interval = names[place]
        self.forget_bars()
        return True


def _age(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
