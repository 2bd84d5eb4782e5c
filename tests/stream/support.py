"""What tests of the stream share: bars, a history in memory, an outlet that remembers, a served API."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from candled.domain.bar import NO_TRADE, Bar, merge_bars
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.interval import INTERVALS, MINUTE
from candled.domain.numbers import ONE
from candled.domain.status import DaemonStatus, SymbolStatus
from candled.stream.grpc.limits import Limits
from candled.stream.grpc.server import GrpcServer, open_grpc_server
from candled.stream.hub import Hub
from candled.stream.message import Message

START = 1_790_000_000_000_000 // (1440 * MINUTE) * (1440 * MINUTE)
HISTORY_ID = "0123456789abcdef"
SYMBOLS = ("BTCUSDT", "ETHUSDT", "PEPEUSDT")


def minute(
    index: int,
    *,
    symbol: str = "BTCUSDT",
    trades: int = 3,
    closed: bool = True,
    revision: int = 0,
) -> Bar:
    price = 96_000
    open_time = START + index * MINUTE
    first = 1000 + index * 10 if trades else NO_TRADE
    return Bar(
        symbol=symbol,
        interval="1m",
        open_time=open_time,
        close_time=open_time + MINUTE,
        open=price * ONE,
        high=(price + trades) * ONE,
        low=(price - trades) * ONE,
        close=price * ONE + trades,
        volume=trades * 7,
        quote_volume=trades * 11,
        trade_count=trades,
        taker_buy_volume=trades * 2,
        taker_buy_quote_volume=trades * 3,
        first_trade_id=first,
        last_trade_id=first + trades - 1 if trades else NO_TRADE,
        previous_trade_id=999 + index * 10,
        closed=closed,
        complete=closed,
        revision=revision,
    )


def update(bar: Bar) -> BarEvent:
    bar = msgspec.structs.replace(bar, closed=False, complete=False)
    return BarEvent(BarEventKind.UPDATE, bar, bar.open_time + bar.trade_count)


def close(bar: Bar, position: int) -> BarEvent:
    return BarEvent(BarEventKind.CLOSE, bar, bar.close_time, position)


def revise(bar: Bar, position: int) -> BarEvent:
    return BarEvent(BarEventKind.REVISION, bar, bar.close_time, position)


class Stored:
    """A history in memory: published bars are stored on request."""

    def __init__(self) -> None:
        self.history_id = HISTORY_ID
        self.stored_position = 0
        self.rows: dict[tuple[str, str, int], tuple[int, Bar]] = {}
        self.calls = 0

    def store(self, events: Sequence[BarEvent]) -> None:
        for event in events:
            bar = event.bar
            self.rows[bar.symbol, bar.interval, bar.open_time] = (event.position, bar)
            self.stored_position = max(self.stored_position, event.position)

    async def bars(
        self, symbol: str, interval: str, start: int | None = None, end: int | None = None, limit: int = 1000
    ) -> list[Bar]:
        self.calls += 1
        found = [
            bar
            for (s, i, t), (_, bar) in sorted(self.rows.items())
            if (s, i) == (symbol, interval) and (start is None or start <= t) and (end is None or t < end)
        ]
        return found[:limit]

    async def changed_since(
        self, position: int, symbols: Sequence[str] = (), intervals: Sequence[str] = ("1m",), limit: int = 1000
    ) -> list[tuple[int, Bar]]:
        self.calls += 1
        found = [
            row
            for (s, i, _), row in self.rows.items()
            if (not symbols or s in symbols) and i in intervals and row[0] > position
        ]
        found.sort(key=lambda row: (row[0], list(INTERVALS).index(row[1].interval)))
        return found[:limit]

    async def incomplete_bars(self, symbol: str, since: int = 0, limit: int = 100_000) -> list[Bar]:
        return [bar for bar in await self.bars(symbol, "1m", since) if not bar.complete][:limit]

    async def newest_bars(self) -> dict[str, Bar]:
        return {bar.symbol: bar for (_, interval, _), (_, bar) in sorted(self.rows.items()) if interval == "1m"}

    async def symbols(self) -> list[str]:
        return sorted({symbol for symbol, _, _ in self.rows})


class Recorder:
    """An outlet that remembers; ``ready`` says whether it takes messages at once."""

    def __init__(self, *, ready: bool = True) -> None:
        self.ready = ready
        self.sent: list[Message] = []
        self.woken = 0

    def send_now(self, messages: Sequence[Message]) -> bool:
        if self.ready:
            self.sent += messages
        return self.ready

    def wake(self) -> None:
        self.woken += 1


def summaries(messages: Sequence[Message]) -> list[tuple[str, int | None]]:
    """Return each message's kind, and its bar's minute since ``START``."""
    return [(m.kind.name, None if m.bar is None else (m.bar.open_time - START) // MINUTE) for m in messages]


class World:
    """A hub with its sources, for a test to move."""

    def __init__(self, **options: Any) -> None:
        self.now = 0.0
        self.stored = Stored()
        self.forming: dict[tuple[str, str], Bar] = {}
        self.not_ready: tuple[str, ...] = ()
        self.elsewhere: dict[str, str] = {}
        options.setdefault("clock", lambda: self.now)
        self.hub = Hub(
            snapshot=lambda symbol, interval: self.forming.get((symbol, interval)),
            symbols=lambda: SYMBOLS,
            stored=self.stored,
            **options,
        )

    def publish(self, *events: BarEvent) -> None:
        for event in events:
            if event.kind is BarEventKind.UPDATE:
                self.forming[event.bar.symbol, event.bar.interval] = event.bar
        self.hub.publish(events)

    def publish_and_store(self, *events: BarEvent) -> None:
        self.publish(*events)
        self.stored.store([event for event in events if event.kind is not BarEventKind.UPDATE])

    def status(self) -> DaemonStatus:
        return DaemonStatus(
            version="1.2.3",
            start_time=START,
            exchange="test exchange",
            exchange_time=START + 5,
            not_ready_reasons=self.not_ready,
            symbols=tuple(SymbolStatus(symbol=name, trading_status="TRADING", live=True) for name in SYMBOLS),
            elsewhere=self.elsewhere,
        )


@asynccontextmanager
async def open_service(world: World, limits: Limits | None = None, **options: Any) -> AsyncIterator[GrpcServer]:
    async with open_grpc_server(
        "127.0.0.1:0", hub=world.hub, stored=world.stored, status=world.status, limits=limits, **options
    ) as server:
        yield server


def five_minutes(first: int, symbol: str = "BTCUSDT") -> Bar:
    return merge_bars([minute(first + i, symbol=symbol) for i in range(5)], INTERVALS["5m"])
