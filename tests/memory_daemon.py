"""The daemon but for its ports and its disk, on an exchange in memory and on the clock of the test."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from random import Random

import attrs
import trio

from candled.domain.bar import Bar
from candled.domain.event import BarEvent, BarEventKind, positions_of
from candled.domain.interval import DAY, MINUTE
from candled.domain.status import SymbolStatus
from candled.exchange.clock import ExchangeClock
from candled.exchange.core import Exchange
from candled.exchange.memory import MemoryExchange, open_memory_exchange
from candled.exchange.synthetic import SyntheticMarket
from candled.feed.binance.rest import BinanceRest, open_rest
from candled.history.memory import MemoryHistory, MemoryStore
from candled.pipeline import Pipeline, open_pipeline, restore
from candled.reload import Reloader
from candled.settings import DaemonSettings
from candled.stream.hub import Hub
from candled.vitals import Vitals

SYMBOLS = ("BTCUSDT", "ETHUSDT", "PEPEUSDT")
START = 20_400 * DAY + DAY // 2


@attrs.define
class Told:
    """Every bar event that was published."""

    hub: Hub
    events: list[BarEvent] = attrs.Factory(list)

    def publish(self, events: Sequence[BarEvent]) -> None:
        self.events += [event for event in events if event.kind is not BarEventKind.UPDATE]
        self.hub.publish(events)

    def wanted(self, symbol: str) -> frozenset[str]:
        return self.hub.wanted(symbol)


@attrs.define
class MemoryDaemon:
    """A daemon at work."""

    exchange: Exchange
    rest: BinanceRest
    store: MemoryStore
    history: MemoryHistory
    hub: Hub
    pipeline: Pipeline
    vitals: Vitals
    told: Told
    settings: DaemonSettings
    """Those that a reload reads."""
    reload: trio.MemorySendChannel[None]

    def status(self, symbol: str) -> SymbolStatus:
        return next(each for each in self.vitals.status().symbols if each.symbol == symbol)

    def bars(self, symbol: str) -> list[Bar]:
        """Stored minutes, oldest first."""
        return [bar for _, (_, bar) in sorted(self.store.minutes.get(symbol, {}).items())]

    async def until(self, condition: Callable[[], bool], seconds: float = 3600.0) -> None:
        """Wait, on the mock clock, until something is so."""
        with trio.fail_after(seconds):
            while not condition():
                await trio.sleep(1.0)

    async def closes(self, count: int, symbols: Sequence[str] = SYMBOLS) -> None:
        """Wait until so many more bars of each of them are stored."""
        before = {symbol: len(self.bars(symbol)) for symbol in symbols}
        await self.until(lambda: all(len(self.bars(s)) >= before[s] + count for s in symbols))

    def differences(self, symbol: str) -> list[str]:
        """Stored bars that are not the exchange's klines, complete; and klines in between that are not stored."""
        bars = {bar.open_time: bar for bar in self.bars(symbol)}
        found = []
        for open_time in range(min(bars), max(bars) - 2 * MINUTE, MINUTE):
            kline = self.exchange.ledger.kline(symbol, open_time, open_time + MINUTE, self.exchange.clock.now())
            bar = bars.get(open_time)
            if bar is None or kline is None:
                if bar is not kline:
                    found.append(f"{open_time}: {bar} but {kline}")
                continue
            told = (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.quote_volume)
            true = (kline.open, kline.high, kline.low, kline.close, kline.volume, kline.quote_volume)
            same = tuple(Decimal(value).scaleb(-8) for value in told) == true and bar.trade_count == kline.count
            if not same or not bar.complete:
                found.append(f"{open_time}: {bar} but {kline}")
        return found

    async def is_whole(self, symbols: Sequence[str] = SYMBOLS) -> None:
        """Wait until nothing differs: a thin symbol's last bars are proven by a trade that may take minutes."""
        with trio.fail_after(3600):
            while differing := [difference for symbol in symbols for difference in self.differences(symbol)]:
                print(differing[0])
                await trio.sleep(30)


def make_exchange(symbols: Sequence[str] = SYMBOLS, *, rate: float = 0.2, faults: str = "") -> Exchange:
    clock = ExchangeClock(START, trio.current_time)
    return Exchange(SyntheticMarket(1, symbols, rate=rate), clock, faults=faults)


@asynccontextmanager
async def open_memory_daemon(
    network: MemoryExchange, store: MemoryStore | None = None, symbols: Sequence[str] = SYMBOLS
) -> AsyncIterator[MemoryDaemon]:
    """A daemon while inside; give it the store of an earlier one to restart it."""
    settings = DaemonSettings(
        symbols=tuple(symbols), stream_urls=("ws://a",), rest_urls=("http://a",)
    )  # fmt: skip
    store = store or MemoryStore()
    store.epoch += 1
    history = MemoryHistory(store)
    vitals = Vitals({})
    async with (
        open_rest(settings.rest_urls, settings.rest_weight_per_minute, network.backend()) as rest,
        trio.open_nursery() as nursery,
    ):
        send, receive = trio.open_memory_channel[list[BarEvent]](10_000)
        await nursery.start(history.serve, receive)
        description = await rest.describe(settings.symbols)
        next_position = positions_of(history.epoch)
        engine, rollup = await restore(settings, history, next_position)
        hub = Hub(
            clock=trio.current_time, snapshot=rollup.forming, symbols=lambda: list(engine.symbols), stored=history
        )
        told = Told(hub)
        async with (
            send,
            open_pipeline(
                settings,
                description,
                engine,
                rollup,
                source=rest,
                stored=history,
                hub=told,
                closed=send.clone(),
                connect=network.connect,
                rng=Random(1),
            ) as pipeline,
            trio.open_nursery() as attendants,
        ):
            vitals.serving(pipeline, history)
            ask_to_reload, requests = trio.open_memory_channel[None](1)
            daemon = MemoryDaemon(
                network.exchange, rest, store, history, hub, pipeline, vitals, told, settings, ask_to_reload
            )
            reloader = Reloader(
                settings,
                lambda: daemon.settings,
                pipeline=pipeline,
                source=rest,
                history=history,
                hub=hub,
                closed=send,
                next_position=next_position,
                show_shards=lambda _settings: None,
                rng=Random(1),
            )
            attendants.start_soon(reloader.run, requests)
            yield daemon
            attendants.cancel_scope.cancel()


@asynccontextmanager
async def open_daemon_on(exchange: Exchange, symbols: Sequence[str] = SYMBOLS) -> AsyncIterator[MemoryDaemon]:
    """A daemon on this exchange, while inside."""
    async with open_memory_exchange(exchange) as network, open_memory_daemon(network, symbols=symbols) as daemon:
        yield daemon
