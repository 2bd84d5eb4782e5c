"""The daemon but for its ports and its disk, on an exchange in memory and on the clock of the test."""

from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal
from random import Random
from typing import Any

import attrs
import structlog
import trio

from candled.config.settings import DaemonSettings
from candled.daemon.lifecycle import Lifecycle, ServingParts
from candled.daemon.pipeline import Pipeline, open_pipeline
from candled.daemon.readiness import Readiness
from candled.daemon.reload import Reloader
from candled.daemon.restore import restore
from candled.domain.bar import Bar
from candled.domain.event import BarEvent, BarEventKind, positions_of
from candled.domain.interval import DAY, MINUTE
from candled.domain.status import SymbolStatus
from candled.embedded_exchange.clock import ExchangeClock
from candled.embedded_exchange.core import Exchange
from candled.embedded_exchange.memory import MemoryExchange, open_memory_exchange
from candled.embedded_exchange.synthetic import SyntheticMarket
from candled.feed.adapter import RestClient
from candled.feed.binance.rest import open_rest
from candled.feed.instruments import keep_unlisted
from candled.history import HistoryStatistics
from candled.history.memory import MemoryHistory, MemoryStore
from candled.stream.grpc.internals.connections import ServerStatistics
from candled.stream.hub import Hub

SYMBOLS = ("BTCUSDT", "ETHUSDT", "PEPEUSDT")
START = 20_400 * DAY + DAY // 2


@attrs.define
class Recorder:
    """A hub that records each event of a closed bar."""

    hub: Hub
    events: list[BarEvent] = attrs.Factory(list)
    witnesses: list[Callable[[Sequence[BarEvent]], None]] = attrs.Factory(list)
    """Called at each publication."""

    def publish(self, events: Sequence[BarEvent]) -> None:
        self.events += [event for event in events if event.kind is not BarEventKind.UPDATE]
        for witness in self.witnesses:
            witness(events)
        self.hub.publish(events)

    def wanted(self, symbol: str) -> frozenset[str]:
        return self.hub.wanted(symbol)


@attrs.define
class MemoryDaemon:
    """A daemon at work."""

    exchange: Exchange
    rest: RestClient
    store: MemoryStore
    history: MemoryHistory
    hub: Hub
    pipeline: Pipeline
    readiness: Readiness
    recorder: Recorder
    settings: DaemonSettings
    """Those that a reload reads."""
    reload: trio.MemorySendChannel[None]

    def status(self, symbol: str) -> SymbolStatus:
        return next(each for each in self.readiness.status().symbols if each.symbol == symbol)

    def bars(self, symbol: str) -> list[Bar]:
        """Stored minutes, oldest first."""
        return [bar for _, (_, bar) in sorted(self.store.minutes.get(symbol, {}).items())]

    async def until(self, condition: Callable[[], bool], seconds: float = 3600.0) -> None:
        """Wait, on the mock clock, until something is so."""
        with trio.fail_after(seconds):
            while not condition():
                await trio.sleep(1.0)

    async def closes(self, count: int, symbols: Sequence[str] = SYMBOLS) -> None:
        """Wait until ``count`` more bars of each of them are stored."""
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
                if bar is not None or kline is not None:
                    found.append(f"{open_time}: {bar} but {kline}")
                continue
            stored = (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.quote_volume)
            true = (kline.open, kline.high, kline.low, kline.close, kline.volume, kline.quote_volume)
            same = tuple(Decimal(value).scaleb(-8) for value in stored) == true and bar.trade_count == kline.count
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


@contextmanager
def captured_logs() -> Iterator[list[MutableMapping[str, Any]]]:
    """Every line logged inside, whatever other tests made of the logging."""
    before = structlog.get_config()
    structlog.reset_defaults()
    try:
        with structlog.testing.capture_logs() as logs:
            yield logs
    finally:
        structlog.configure(**before)


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
    lifecycle = Lifecycle()
    readiness = Readiness(lifecycle, {})
    async with (
        open_rest(settings.rest_urls, 3000, network.backend()) as rest,
        trio.open_nursery() as nursery,
    ):
        send, receive = trio.open_memory_channel[list[BarEvent]](10_000)
        await nursery.start(history.serve, receive)
        described = await rest.describe(settings.symbols)
        description = keep_unlisted(described, settings.symbols, await history.symbols())
        next_position = positions_of(history.epoch)
        engine = await restore(settings, history, next_position)
        hub = Hub(
            clock=trio.current_time, snapshot=engine.forming, symbols=lambda: list(engine.symbols), stored=history
        )
        recorder = Recorder(hub)
        async with (
            send,
            open_pipeline(
                settings,
                description,
                engine,
                source=rest,
                stored=history,
                hub=recorder,
                unstored=hub.unstored,
                closed=send.clone(),
                connect=network.connect,
                rng=Random(1),
            ) as pipeline,
            trio.open_nursery() as attendants,
        ):
            lifecycle.serve_stored(
                ServingParts(
                    engine=engine,
                    stored=history,
                    hub=hub,
                    unwritable_reason=history.not_ready_reason,
                    store_statistics=HistoryStatistics,
                    grpc_statistics=lambda: ServerStatistics(0, None),
                )
            )
            lifecycle.go_live(pipeline, send.statistics)
            ask_to_reload, requests = trio.open_memory_channel[None](1)
            daemon = MemoryDaemon(
                network.exchange, rest, store, history, hub, pipeline, readiness, recorder, settings, ask_to_reload
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
