"""A day of trading with everything going wrong, in one process, decided by a seed.

The real feed, repair, engine and roll-up run against the real core of the embedded exchange, over in-memory
connections, on a mock clock. Faults, their times and the daemon's restarts are drawn from the seed. When the day
is over the faults end, and every stored bar must equal the exchange's ledger and be complete, or touch ids that
the exchange really does not have.
"""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Final

import attrs
import trio

from candled.domain.bar import Bar
from candled.domain.event import BarEvent, BarEventKind, positions_of
from candled.domain.interval import DAY, MINUTE
from candled.exchange.clock import ExchangeClock
from candled.exchange.core import Exchange, Limits
from candled.exchange.memory import MemoryExchange, open_memory_exchange
from candled.exchange.synthetic import SyntheticMarket
from candled.feed.binance.rest import open_rest
from candled.feed.interface import SourceUnavailableError
from candled.history.memory import MemoryStore, open_memory_history
from candled.pipeline import Pipeline, open_pipeline, restore
from candled.settings import DaemonSettings

SYMBOLS: Final = ("BTCUSDT", "ETHUSDT", "PEPEUSDT")
FIRST_DAY: Final = 20_400 * DAY
_KLINE_NINE: Final = (
    *("open", "high", "low", "close", "volume", "quote_volume", "count"),
    *("taker_buy_volume", "taker_buy_quote_volume"),
)
NINE: Final = (
    *("open", "high", "low", "close", "volume", "quote_volume", "trade_count"),
    *("taker_buy_volume", "taker_buy_quote_volume"),
)


@attrs.frozen(kw_only=True)
class Scenario:
    """What a seed decides."""

    seed: int
    hours: float = 24.0
    rate: float = 0.06
    """Of the market: about 20,000 trades a day."""
    speed: float = 12.0
    """Of the exchange's clock: fewer idle wake-ups in a day."""
    mean_pause: float = 75.0
    """Seconds between mishaps, on average."""
    unfillable: bool = False


@attrs.define
class Outcome:
    """What came of a day."""

    bars: int = 0
    trades: int = 0
    wrong: list[str] = attrs.Factory(list)
    revisions: int = 0
    restarts: int = 0
    mishaps: list[str] = attrs.Factory(list)
    gaps: int = 0
    updates: int = 0


class Listener:
    """A subscriber that never left; checks what every subscriber relies on."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self._newest: dict[tuple[str, int], Bar] = {}
        self._last_close: dict[str, int] = {}

    def begin(self) -> None:
        """A new daemon: closes may be told again from the last stored bar on."""
        self._last_close.clear()

    def publish(self, events: list[BarEvent]) -> None:
        for event in events:
            bar = event.bar
            if bar.interval != "1m":
                continue
            if event.kind is BarEventKind.UPDATE:
                self._outcome.updates += 1
                continue
            key = bar.symbol, bar.open_time
            if event.kind is BarEventKind.CLOSE:
                if bar.open_time <= self._last_close.get(bar.symbol, 0):
                    self._outcome.wrong.append(f"closed out of order: {bar}")
                self._last_close[bar.symbol] = bar.open_time
            else:
                self._outcome.revisions += 1
            known = self._newest.get(key)
            if known is not None and known.complete and _numbers(known) != _numbers(bar):
                self._outcome.wrong.append(f"a bar told as complete changed: {known} to {bar}")
            self._newest[key] = bar

    def wanted(self, symbol: str) -> tuple[str, ...]:
        return ()


def _numbers(bar: Bar) -> tuple[int, ...]:
    return tuple(getattr(bar, name) for name in NINE)


async def simulate(scenario: Scenario) -> Outcome:
    """Live through the day and judge it."""
    rng = random.Random(f"{scenario.seed}/day")
    outcome = Outcome()
    market = SyntheticMarket(scenario.seed, SYMBOLS, rate=scenario.rate)
    start = FIRST_DAY + rng.randrange(DAY)
    exchange = Exchange(
        market,
        ExchangeClock(start, trio.current_time, speed=scenario.speed),
        seed=scenario.seed,
        limits=Limits(lifetime_s=rng.choice((600.0, 3000.0, 86_400.0)), weight_per_minute=20_000),
    )
    store, listener = MemoryStore(), Listener(outcome)
    async with open_memory_exchange(exchange, seed=scenario.seed) as network:
        end = trio.current_time() + scenario.hours * 3600 / scenario.speed
        if scenario.unfillable:
            exchange.command("unfillable=0.02")
        async with trio.open_nursery() as nursery:
            mishaps = Mishaps(scenario, rng, exchange, network, outcome)
            nursery.start_soon(mishaps.run)
            while trio.current_time() < end:
                lifetime = rng.expovariate(1 / 1200) if rng.random() < 0.8 else rng.uniform(0, 5)
                listener.begin()
                async with daemon(scenario, network, store, listener, rng) as pipeline:
                    with trio.move_on_after(min(lifetime, end - trio.current_time())):
                        await trio.sleep_forever()
                outcome.restarts += 1
                outcome.gaps += sum(symbol.counts.gaps for symbol in pipeline.engine.symbols.values())
                if rng.random() < 0.3:
                    await trio.sleep(rng.expovariate(1 / 60))
            nursery.cancel_scope.cancel()
        mishaps.end_all()
        listener.begin()
        async with daemon(scenario, network, store, listener, rng) as pipeline:
            engine = pipeline.engine
            with trio.move_on_after(3600):
                await trio.sleep(60)
                while engine.needy or not engine.symbols:
                    await trio.sleep(10)
            if engine.needy:
                for name in engine.needy:
                    symbol = engine.symbols[name]
                    lacks = symbol.continuity.missing, symbol.unsettled(), symbol.wanted_start
                    outcome.wrong.append(f"{name} still lacks {lacks}")
    judge(exchange, store, outcome)
    return outcome


@asynccontextmanager
async def daemon(
    scenario: Scenario, network: MemoryExchange, store: MemoryStore, listener: Listener, rng: random.Random
) -> AsyncIterator[Pipeline]:
    """The daemon but for its ports and its disk."""
    settings = DaemonSettings(
        symbols=SYMBOLS,
        stream=random.Random(scenario.seed).choice(("trade", "trade", "aggTrade")),
        stream_urls=("ws://a", "ws://b"),
        rest_urls=("http://a", "http://b"),
        connections=random.Random(f"{scenario.seed}/connections").choice((1, 1, 2)),
    )
    crash = rng.random() < 0.5
    async with (
        open_memory_history(store) as history,
        open_rest(settings.rest_urls, settings.rest_weight_per_minute, network.backend()) as rest,
        trio.open_nursery() as writer,
    ):
        send, receive = trio.open_memory_channel[list[BarEvent]](10_000)
        await writer.start(history.serve, receive)
        while True:
            try:
                description = await rest.describe(settings.symbols)
                break
            except SourceUnavailableError:
                await trio.sleep(1)
        engine, rollup = await restore(settings, history, positions_of(history.epoch))
        async with (
            send,
            open_pipeline(
                settings,
                description,
                engine,
                rollup,
                source=rest,
                stored=history,
                hub=listener,
                closed=send.clone(),
                connect=network.connect,
                rng=rng,
            ) as pipeline,
        ):
            yield pipeline
            if crash:  # as after kill -9: what is on its way to the disk is lost
                writer.cancel_scope.cancel()


class Mishaps:
    """What goes wrong, when, and for how long."""

    _COMMANDS = (
        *("cut", "shutdown", "half"),
        *("lose=0.05/", "double=0.1/", "reorder=0.1/", "malformed=0.02/", "late=0.05/", "half=0.01/"),
        *("stall/", "stall:ETHUSDT/", "nopong/", "refuse/"),
        *("rest_lag=5s/", "rest_delay=2s/", "rest_500=0.5/", "rest_429=0.1/", "rest_418=0.05/", "rest_half=0.3/"),
        *("weather:cut", "weather:delay", "weather:down", "weather:cut_all"),
    )

    def __init__(
        self, scenario: Scenario, rng: random.Random, exchange: Exchange, network: MemoryExchange, outcome: Outcome
    ) -> None:
        self._mean_pause = scenario.mean_pause
        self._rng = rng
        self._exchange = exchange
        self._network = network
        self._outcome = outcome

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(self._rng.expovariate(1 / self._mean_pause))
                nursery.start_soon(self._one, self._rng.choice(self._COMMANDS))

    async def _one(self, command: str) -> None:
        self._outcome.mishaps.append(command)
        duration = self._rng.expovariate(1 / self._rng.choice((2, 20, 100)))
        weather = self._network.weather
        match command:
            case "weather:cut":
                weather.cut_per_byte = 10 ** -self._rng.uniform(2.5, 5)
                await trio.sleep(duration)
                weather.cut_per_byte = 0.0
            case "weather:delay":
                weather.longest_delay_s = self._rng.uniform(0.01, 3)
                await trio.sleep(duration)
                weather.longest_delay_s = 0.0
            case "weather:down":
                weather.is_down = True
                self._network.cut_all()
                await trio.sleep(duration)
                weather.is_down = False
            case "weather:cut_all":
                self._network.cut_all()
            case _ if command.endswith("/"):
                fault = command[:-1]
                self._exchange.command(fault)
                await trio.sleep(duration)
                self._exchange.command(f"{fault.partition('=')[0]}=off")
            case _:
                self._exchange.command(command)

    def end_all(self) -> None:
        weather = self._network.weather
        weather.cut_per_byte = weather.longest_delay_s = weather.refuse = 0.0
        weather.is_down = False
        for command in self._COMMANDS:
            if command.endswith("/"):
                self._exchange.command(f"{command[:-1].partition('=')[0]}=off")


def judge(exchange: Exchange, store: MemoryStore, outcome: Outcome) -> None:
    """Hold every stored bar against the ledger."""
    for symbol in SYMBOLS:
        stored = {at: bar for at, (_, bar) in sorted(store.minutes.get(symbol, {}).items())}
        if not stored:
            outcome.wrong.append(f"no bar of {symbol} was stored")
            continue
        newest_id = max(bar.known_trade_id for bar in stored.values())
        for open_time in range(min(stored), max(stored) + MINUTE, MINUTE):
            bar = stored.get(open_time)
            outcome.bars += 1
            kline = exchange.ledger.kline(symbol, open_time, open_time + MINUTE, open_time + 2 * DAY)
            if bar is None or kline is None:
                outcome.wrong.append(f"{symbol} {open_time}: stored {bar}, ledger {kline}")
                continue
            outcome.trades += bar.trade_count
            if not bar.complete and (_is_hidden(exchange, bar) or bar.known_trade_id >= newest_id):
                continue  # it says so itself: the exchange lacks ids, or no later trade has come yet
            told = tuple(Decimal(value).scaleb(-8) for value in _numbers(bar))
            true = tuple(getattr(kline, name) for name in _KLINE_NINE)
            told = (*told[:6], Decimal(bar.trade_count), *told[7:])
            if told != true:
                outcome.wrong.append(
                    f"{symbol} {open_time}: stored {told}, ledger {true}, complete {bar.complete}"
                )
            elif not bar.complete:
                outcome.wrong.append(f"{symbol} {open_time}: equal, but never proven: {bar}")


def _is_hidden(exchange: Exchange, bar: Bar) -> bool:
    """Whether the exchange's REST side really lacks an id that the bar's proof needs."""
    kline = exchange.ledger.kline(bar.symbol, bar.open_time, bar.close_time, bar.close_time + DAY)
    assert kline is not None
    first = kline.first_id if kline.count else bar.previous_trade_id
    last = kline.last_id if kline.count else bar.previous_trade_id
    return any(exchange.faults.hides(bar.symbol, id_, id_) for id_ in range(first - 1, last + 2))
