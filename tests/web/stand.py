"""A hub and a history in memory behind the HTTP port: what the chart is tested against, without a daemon."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import groupby
from typing import Any

import attrs
import trio

from candled.client import open_trio_client
from candled.client.trio_client import TrioClient
from candled.domain.bar import Bar, merge_bars
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.interval import INTERVALS, MINUTE, Interval
from candled.domain.status import DaemonStatus, SymbolStatus
from candled.stream.access import BearerTokens
from candled.stream.grpc.server import open_grpc_server
from candled.stream.hub import Hub
from candled.stream.web.chart import ChartSource
from candled.stream.web.server import serve_http

NOW = 1_779_000_000 * 1_000_000 - 1_779_000_000 * 1_000_000 % MINUTE
"""A minute in May 2026."""
STARTING = "The daemon is starting: backfilling. BTCUSDT (1 of 3 new symbols): 15 of 60 minutes."


@attrs.define
class Stored:
    """Closed 1m bars by symbol and open time, as the history gives them."""

    rows: dict[tuple[str, int], Bar] = attrs.field(factory=dict)
    stored_position: int = 0
    history_id: str = "0" * 16
    reads: int = 0
    merges: bool = False
    """Whether longer bars are merged from the minutes; else there are none."""
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

    async def bars(
        self, symbol: str, interval: str, start: int | None = None, end: int | None = None, limit: int = 1000
    ) -> list[Bar]:
        await self._free.wait()
        self.reads += 1
        rows = [bar for (name, _), bar in sorted(self.rows.items()) if name == symbol]
        if interval != "1m":
            rows = self._merged(rows, INTERVALS[interval]) if self.merges else []
        return [
            bar
            for bar in rows
            if (start is None or start <= bar.open_time) and (end is None or bar.open_time < end)
        ][:limit]

    def _merged(self, minutes: list[Bar], interval: Interval) -> list[Bar]:
        periods = groupby(minutes, lambda bar: interval.floor(bar.open_time))
        bars = (merge_bars(list(period), interval) for _, period in periods)
        return [bar for bar in bars if bar.closed]

    async def changed_since(
        self, position: int, symbols: Sequence[str] = (), intervals: Sequence[str] = ("1m",), limit: int = 1000
    ) -> list[tuple[int, Bar]]:
        raise NotImplementedError  # the chart reads pages alone, here and below

    async def incomplete_bars(self, symbol: str, since: int = 0, limit: int = 100_000) -> list[Bar]:
        raise NotImplementedError

    async def newest_bars(self) -> dict[str, Bar]:
        raise NotImplementedError

    async def symbols(self) -> list[str]:
        raise NotImplementedError


def made_up_bar(symbol: str = "BTCUSDT", open_time: int = NOW, seed: int = 0, **values: Any) -> Bar:
    """A closed bar with plausible prices."""
    dice = random.Random(f"{symbol} {open_time // MINUTE} {seed}")
    middle = 9_600_000_000_000 + dice.randrange(0, 40_000_000_000, 1_000_000)
    prices = [middle + dice.randrange(-9_000_000_000, 9_000_000_000, 1_000_000) for _ in range(4)]
    count = dice.randint(1, 900)
    fields: dict[str, Any] = {
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
    elsewhere: dict[str, str] = attrs.field(factory=dict)
    live: bool = True
    exchange_time: int = NOW
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
            exchange_time=self.exchange_time,
            not_ready_reasons=self.not_ready_reasons,
            elsewhere=self.elsewhere,
            symbols=tuple(
                SymbolStatus(symbol=symbol, trading_status="TRADING", live=self.live, lag_ms=3)
                for symbol in self.symbols
            ),
        )

    def emit(self, bar: Bar, kind: BarEventKind | None = None) -> None:
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
        time = bar.close_time if bar.closed else max(bar.open_time, self.exchange_time)
        self.hub.publish([BarEvent(kind, bar, time, position)])

    @asynccontextmanager
    async def serving(self, address: str = "127.0.0.1:0") -> AsyncIterator[str]:
        """The HTTP port; gives its ``host:port``."""
        async with trio.open_nursery() as nursery:
            yield await nursery.start(self._serve, address)
            nursery.cancel_scope.cancel()

    async def _serve(self, address: str, *, task_status: trio.TaskStatus[str]) -> None:
        await serve_http(
            address,
            not_ready_reasons=lambda: self.not_ready_reasons,
            chart=lambda: STARTING if self.starting else ChartSource(self.hub, self.stored, self.status),
            tokens=self.tokens,
            task_status=task_status,
        )


@asynccontextmanager
async def serving_both(stand: Stand) -> AsyncIterator[tuple[str, TrioClient]]:
    """The HTTP port's ``host:port``, and a client of the gRPC API of the same hub and history."""
    async with (
        stand.serving() as address,
        open_grpc_server("127.0.0.1:0", hub=stand.hub, stored=stand.stored, status=stand.status) as server,
        open_trio_client(server.address) as client,
    ):
        yield address, client
