"""A hub and a history in memory behind the HTTP port: what the chart is tested against, without a daemon."""

import random
from contextlib import asynccontextmanager

import attrs
import trio

from candled.domain.bar import Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.interval import INTERVALS, MINUTE
from candled.domain.status import DaemonStatus, SymbolStatus
from candled.stream.access import BearerTokens
from candled.stream.hub import Hub
from candled.stream.web.chart import ChartSource
from candled.stream.web.server import serve_http

NOW = 1_779_000_000 * 1_000_000 - 1_779_000_000 * 1_000_000 % MINUTE
"""A minute in May 2026."""


@attrs.define
class Stored:
    """Closed 1m bars by symbol and open time, as the history gives them."""

    rows: dict[tuple[str, int], Bar] = attrs.field(factory=dict)
    stored_position: int = 0
    reads: int = 0
    _free: trio.Event = attrs.field(factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        self.release()

    def hold(self) -> None:
        """Answer nothing until ``release``."""
        self._free = trio.Event()

    def release(self) -> None:
        """Answer."""
        self._free.set()

    def add(self, *bars: Bar) -> None:
        for bar in bars:
            self.rows[bar.symbol, bar.open_time] = bar

    async def bars(self, symbol, interval, start, end, limit):
        await self._free.wait()
        self.reads += 1
        times = sorted(time for name, time in self.rows if name == symbol and start <= time < end)
        return [self.rows[symbol, time] for time in times if interval == "1m"][:limit]

    async def changed_since(self, position, symbols, intervals, limit):
        raise NotImplementedError


def made_up_bar(symbol="BTCUSDT", open_time=NOW, seed=0, **values):
    """A closed bar with plausible prices."""
    dice = random.Random(f"{symbol} {open_time // MINUTE} {seed}")
    middle = 9_600_000_000_000 + dice.randrange(0, 40_000_000_000, 1_000_000)
    prices = [middle + dice.randrange(-9_000_000_000, 9_000_000_000, 1_000_000) for _ in range(4)]
    count = dice.randint(1, 900)
    fields = {
        "symbol": symbol,
        "interval": "1m",
        "open_time": open_time,
        "close_time": open_time + MINUTE,
        "open": prices[0],
        "high": max(prices),
        "low": min(prices),
        "close": prices[1],
        "volume": dice.randint(1, 10**12),
        "quote_volume": dice.randint(1, 10**16),
        "trade_count": count,
        "taker_buy_volume": 1,
        "taker_buy_quote_volume": 1,
        "first_trade_id": open_time // MINUTE * 1000,
        "last_trade_id": open_time // MINUTE * 1000 + count - 1,
        "previous_trade_id": open_time // MINUTE * 1000 - 1,
        "closed": True,
        "complete": True,
        "revision": 0,
    }
    return Bar(**fields | values)


@attrs.define
class Stand:
    """The parts, for a test to play with."""

    symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT", "PEPEUSDT")
    stored: Stored = attrs.field(factory=Stored)
    forming: dict[tuple[str, str], Bar] = attrs.field(factory=dict)
    not_ready_reasons: tuple[str, ...] = ()
    live: bool = True
    starting: bool = False
    tokens: BearerTokens | None = None
    position: int = 0
    hub: Hub = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.hub = Hub(
            clock=trio.current_time,
            snapshot=lambda symbol, interval: self.forming.get((symbol, interval)),
            symbols=lambda: self.symbols,
            stored=self.stored,
        )

    def status(self) -> DaemonStatus:
        return DaemonStatus(
            version="0.1.0",
            start_time=NOW,
            exchange="stand",
            exchange_time=NOW,
            not_ready_reasons=self.not_ready_reasons,
            symbols=tuple(
                SymbolStatus(symbol=symbol, trading_status="TRADING", live=self.live, lag_ms=3)
                for symbol in self.symbols
            ),
        )

    def tell(self, bar: Bar, kind: BarEventKind | None = None) -> None:
        """Publish a bar as it now is."""
        assert bar.interval in INTERVALS
        if kind is None:
            kind = BarEventKind.CLOSE if bar.closed else BarEventKind.UPDATE
        if kind is BarEventKind.UPDATE:
            self.forming[bar.symbol, bar.interval] = bar
            position = 0
        else:
            self.position += 1
            position = self.position
        self.hub.publish([BarEvent(kind, bar, bar.close_time, position)])

    @asynccontextmanager
    async def serving(self, address="127.0.0.1:0"):
        """The HTTP port; gives its ``host:port``."""
        async with trio.open_nursery() as nursery:
            yield await nursery.start(self._serve, address)
            nursery.cancel_scope.cancel()

    async def _serve(self, address, *, task_status):
        await serve_http(
            address,
            not_ready_reasons=lambda: self.not_ready_reasons,
            chart=lambda: None if self.starting else ChartSource(self.hub, self.stored, self.status),
            tokens=self.tokens,
            task_status=task_status,
        )
