"""What ``candled watch`` knows at one moment, and how far that can be trusted. No clock, no I/O."""

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Final

import attrs

from candled.client import Bar
from candled.domain.interval import INTERVALS

SILENCE_SECONDS_MAX: Final = 20.0
"""A daemon sends a heartbeat after 15 s of silence; past this, what is shown may be old."""

BARS_KEPT: Final = 400
"""For each symbol: more columns than a terminal has."""


class Connection(Enum):
    """Whether the daemon's stream is open."""

    CONNECTING = "connecting"
    LIVE = "live"
    LOST = "lost"


@attrs.frozen
class Trust:
    """How far the screen can be trusted, in one word and one sentence."""

    fresh: bool
    text: str


@attrs.define
class Watch:
    """The bars of each symbol in one interval, and when the daemon last said anything."""

    symbols: tuple[str, ...]
    interval: str
    connection: Connection = Connection.CONNECTING
    problem: str = ""
    """Why the connection was lost."""
    loading: bool = False
    """Whether bars of the past are still on their way: the newest on the screen is not that of now."""
    last_message: float | None = None
    """Monotonic seconds."""
    troubles: dict[str, str] = attrs.field(factory=dict)
    """Symbols whose own stream is not live, and why, as the daemon's status says."""
    selected: int | None = None
    """Index of the one symbol shown; None for all."""
    _bars: dict[str, list[Bar]] = attrs.field(factory=dict)

    @property
    def shown(self) -> tuple[str, ...]:
        """The symbols on the screen."""
        return self.symbols if self.selected is None else (self.symbols[self.selected],)

    def bars(self, symbol: str) -> Sequence[Bar]:
        """Bars of a symbol, oldest first; the last one may be forming."""
        return self._bars.get(symbol, ())

    def take(self, bar: Bar) -> None:
        """A bar as it now is: replaces the one of its open time, or comes where its time says."""
        bars = self._bars.setdefault(bar.symbol, [])
        place = len(bars)
        while place and bars[place - 1].open_time > bar.open_time:
            place -= 1
        if place and bars[place - 1].open_time == bar.open_time:
            bars[place - 1] = bar
            return
        bars.insert(place, bar)
        if len(bars) > BARS_KEPT:
            del bars[0]

    def take_history(self, bars: Iterable[Bar]) -> None:
        """Closed bars from the history; what the stream has told since is newer and stays."""
        for bar in bars:
            known = {one.open_time for one in self._bars.get(bar.symbol, ())}
            if bar.open_time not in known:
                self.take(bar)

    def heard(self, now: float) -> None:
        """The daemon said something, if only that it lives."""
        self.last_message = now
        self.connection = Connection.LIVE
        self.problem = ""

    def lost(self, problem: str) -> None:
        """The stream ended."""
        self.connection = Connection.LOST
        self.problem = problem

    def forget_bars(self) -> None:
        """Drop every bar: another interval, or a new connection that tells all again."""
        self._bars.clear()

    def trust(self, now: float) -> Trust:
        """Whether the screen shows the present."""
        silence = None if self.last_message is None else now - self.last_message
        match self.connection:
            case Connection.CONNECTING:
                return Trust(fresh=False, text="connecting ...")
            case Connection.LOST:
                age = "" if silence is None else f", {_age(silence)} old"
                return Trust(fresh=False, text=f"STALE{age}: {self.problem or 'connection lost'}; trying again")
            case Connection.LIVE:
                if silence is not None and silence > SILENCE_SECONDS_MAX:
                    return Trust(fresh=False, text=f"STALE: the daemon has been silent for {_age(silence)}")
        if self.loading:
            return Trust(fresh=False, text="loading ...")
        troubled = [symbol for symbol in self.shown if symbol in self.troubles]
        if troubled:
            return Trust(fresh=False, text=f"STALE: {'; '.join(self.troubles[symbol] for symbol in troubled)}")
        return Trust(fresh=True, text="live")

    # What keys do.

    def select(self, index: int | None) -> None:
        """Show one symbol by its index, or all."""
        if index is None or 0 <= index < len(self.symbols):
            self.selected = index

    def step(self, by: int) -> None:
        """Show the next or the previous symbol; from all, the first or the last."""
        count = len(self.symbols)
        if count == 0:
            return
        if self.selected is None:
            self.selected = 0 if by > 0 else count - 1
        else:
            self.selected = (self.selected + by) % count

    def other_interval(self, by: int) -> bool:
        """Change to the next longer (1) or shorter (-1) interval; whether there is one."""
        names = list(INTERVALS)
        place = names.index(self.interval) + by
        if not 0 <= place < len(names):
            return False
        self.interval = names[place]
        self.forget_bars()
        return True


def _age(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
