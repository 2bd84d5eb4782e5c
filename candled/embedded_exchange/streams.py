"""Subscriptions: which messages a connection receives, and when. Plain: no sockets, no clock."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Final

import msgspec

from candled.embedded_exchange.ledger import Ledger
from candled.embedded_exchange.market import MINUTE, Fill
from candled.embedded_exchange.replay import Frame
from candled.embedded_exchange.tapes import FillTape, Message, Tapes
from candled.embedded_exchange.wire import aggregate_event, combined, kline_event, trade_event

if TYPE_CHECKING:
    from candled.embedded_exchange.klines import KlineSum

KLINE_PERIOD: Final = 2_000_000
"""Exchange microseconds between messages of a running kline."""

_KLINE_DELAY: Final = 4_000


class Feeder(Tapes):
    """The streams of one connection, as they are subscribed to by name."""

    def __init__(self, ledger: Ledger, frames: Sequence[Frame], *, is_combined: bool, unit: int) -> None:
        """Make a feeder without streams.

        Args:
            ledger: Where fills come from.
            frames: Captured messages, sent instead of ones made from fills.
            is_combined: Whether messages are wrapped with their stream's name.
            unit: Microseconds in the unit of times.
        """
        super().__init__()
        self._ledger = ledger
        self.is_combined = is_combined
        self.unit = unit
        self._names: dict[str, None] = {}
        self._captured = frozenset(frame.stream for frame in frames)
        self._capture = _Capture(self, frames)
        self._symbols = {rules.symbol.lower(): rules.symbol for rules in ledger.symbols.values()}

    @property
    def names(self) -> list[str]:
        """Streams subscribed to, known to the exchange or not."""
        return list(self._names)

    def subscribe(self, names: Iterable[str], now: int) -> None:
        """Add streams from exchange time ``now`` on. Unknown ones stay silent."""
        for name in names:
            if name in self._names:
                continue
            self._names[name] = None
            symbol, kind = self._split(name)
            if name in self._captured:
                self._capture.seek(now)
                self._start(("", "capture"), self._capture)
            elif symbol and kind in ("trade", "aggTrade"):
                self._start((symbol, "trades"), _Trades(self, self._ledger, symbol, now))
            elif symbol and kind == "kline_1m":
                self._start((symbol, "klines"), _Klines(self, self._ledger, symbol, now))

    def unsubscribe(self, names: Iterable[str]) -> None:
        """Stop sending these streams."""
        for name in names:
            self._names.pop(name, None)
        wanted = {self._split(name) for name in self._names}
        for symbol, kind in list(self._tapes):
            kinds = {"trades": ("trade", "aggTrade"), "klines": ("kline_1m",)}.get(kind)
            if kinds is not None and not any((symbol, kind) in wanted for kind in kinds):
                del self._tapes[symbol, kind]
        self.rewind()

    def wants(self, name: str) -> bool:
        """Return whether that stream is subscribed to."""
        return name in self._names

    def wrap(self, name: str, payload: str) -> str:
        """Wrap a payload in the form that this connection receives."""
        return combined(name, payload) if self.is_combined else payload

    def _split(self, name: str) -> tuple[str | None, str]:
        symbol, _, kind = name.partition("@")
        return self._symbols.get(symbol), kind


class _Trades(FillTape):
    """``@trade`` and ``@aggTrade`` of one symbol."""

    def __init__(self, feeder: Feeder, ledger: Ledger, symbol: str, now: int) -> None:
        self._feeder = feeder
        self._trade_name = f"{symbol.lower()}@trade"
        self._aggregate_name = f"{symbol.lower()}@aggTrade"
        super().__init__(ledger, symbol, now)

    def _send(self, fills: Sequence[Fill], event_time: int, out: list[Message]) -> None:
        feeder, symbol, unit, fill = self._feeder, self._symbol, self._feeder.unit, fills[0]
        if feeder.wants(self._trade_name) and fill.first_id == fill.last_id:
            name = self._trade_name
            out.extend((symbol, feeder.wrap(name, trade_event(symbol, one, event_time, unit))) for one in fills)
        if feeder.wants(self._aggregate_name):
            text = aggregate_event(symbol, fills, event_time, unit)
            out.append((symbol, feeder.wrap(self._aggregate_name, text)))


class _Klines:
    """``@kline_1m`` of one symbol, from the ledger: the running minute every two seconds, and its end."""

    def __init__(self, feeder: Feeder, ledger: Ledger, symbol: str, now: int) -> None:
        self._feeder = feeder
        self._ledger = ledger
        self._symbol = symbol
        self._name = f"{symbol.lower()}@kline_1m"
        self._tick = now - now % KLINE_PERIOD + KLINE_PERIOD
        self._counted = 0
        self._sum: KlineSum | None = None
        self.due: int | None = self._tick + _KLINE_DELAY

    def rewind(self) -> None:
        self._sum = None

    def play(self, until: int, out: list[Message], limit: int) -> None:
        start = (self._tick - 1) // MINUTE * MINUTE
        end, symbol, ledger = start + MINUTE, self._symbol, self._ledger
        if self._sum is None or self._sum.start != start:
            self._sum = ledger.kline_sum(symbol, start, end, self._tick - 1)
        else:
            self._sum.add(ledger.fills_between(symbol, self._counted, self._tick))
        self._counted = self._tick
        kline = self._sum.kline() if ledger.market.has_kline(symbol, start, end) else None
        if kline is not None:
            event_time, unit = self._tick + _KLINE_DELAY, self._feeder.unit
            text = kline_event(symbol, "1m", kline, event_time, unit, closed=self._tick == end)
            out.append((symbol, self._feeder.wrap(self._name, text)))
        self._tick += KLINE_PERIOD
        self.due = self._tick + _KLINE_DELAY


class _Capture:
    """Captured messages, unchanged."""

    def __init__(self, feeder: Feeder, frames: Sequence[Frame]) -> None:
        self._feeder = feeder
        self._frames = frames
        self._place = 0
        self.due: int | None = frames[0].due if frames else None

    def seek(self, now: int) -> None:
        """Continue with the first message that is not due before ``now``."""
        self._place = bisect_left(self._frames, now, key=attrgetter("due"))
        self.rewind()

    def rewind(self) -> None:
        self.due = self._frames[self._place].due if self._place < len(self._frames) else None

    def play(self, until: int, out: list[Message], limit: int) -> None:
        feeder = self._feeder
        end = bisect_right(self._frames, until, key=attrgetter("due"))
        while self._place < end and len(out) < limit:
            frame = self._frames[self._place]
            self._place += 1
            if feeder.wants(frame.stream):
                payload = msgspec.json.encode(frame.in_unit(feeder.unit)).decode()
                out.append((frame.data["s"], feeder.wrap(frame.stream, payload)))
        self.rewind()
