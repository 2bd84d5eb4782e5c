"""A market whose stream loses messages without end, its REST side with weights, and the real engine and repair.

On a mock clock at speed 1: every symbol trades at an even rate, each message is lost by chance, REST answers after
a delay and shows trades a little later than the stream. What comes out is when each bar was complete, and how much
of the budget was used at the worst moment.
"""

import random
from bisect import bisect_left
from collections.abc import Callable, Sequence

import attrs
import trio
from msgspec.structs import replace

from candled.daemon.missing_data import EngineMissingData
from candled.domain.bar import NO_TRADE, Bar
from candled.domain.event import BarEvent
from candled.domain.feed_event import FeedEvent, ServerTime, StreamLive, TradesArrived
from candled.domain.interval import MICROSECONDS, MINUTE
from candled.domain.numbers import ONE
from candled.domain.trade import Trade
from candled.engine.engine import Engine
from candled.engine.minute import Minute
from candled.feed.adapter import Capabilities, ExchangeDescription, Instrument, KlinePage, TradePage
from candled.feed.binance.capabilities import CAPABILITIES
from candled.feed.repair.context import RepairContext
from candled.feed.repair.repairer import Repairer
from candled.feed.transport.rate_limit import RollingLimit

START = 20_400 * 1440 * MINUTE
FIRST_ID = 1_000_000
TICK_SECONDS = 0.1
REST_SECONDS = 0.1
"""Until a request is answered."""
REST_LAG = MICROSECONDS // 2


@attrs.define
class Market:
    """Trades of each symbol, made beforehand."""

    trades: dict[str, list[Trade]]
    times: dict[str, list[int]]

    @classmethod
    def drawn(cls, symbols: int, minutes: int, rng: random.Random) -> "Market":
        """A busy symbol, and ever quieter ones down to a trade in two seconds."""
        trades: dict[str, list[Trade]] = {}
        for number in range(symbols):
            symbol = f"S{number:03}"
            count = round(max(0.5, 20 / (number + 1)) * 60 * (minutes + 1))
            times = sorted(rng.randrange(-MINUTE, minutes * MINUTE) for _ in range(count))
            trades[symbol] = [
                Trade(symbol, FIRST_ID + k, FIRST_ID + k, rng.randrange(90, 110) * ONE, ONE, START + time, False)
                for k, time in enumerate(times)
            ]
        return cls(trades, {symbol: [trade.time for trade in found] for symbol, found in trades.items()})

    def kline(self, symbol: str, open_time: int, until: int) -> Bar:
        """The kline of a minute as it stands at a time."""
        found, times = self.trades[symbol], self.times[symbol]
        begin, end = bisect_left(times, open_time), bisect_left(times, min(open_time + MINUTE, until + 1))
        minute = Minute(symbol, open_time)
        for trade in found[begin:end]:
            minute.add(trade)
        before = found[begin - 1].price if begin else 0
        bar = minute.closed_bar(previous_id=NO_TRADE, previous_close=before, proven=False, revision=0)
        return replace(bar, first_trade_id=NO_TRADE, last_trade_id=NO_TRADE, previous_trade_id=NO_TRADE)


def event_times(batch: list[Trade]) -> dict[str, int]:
    """By symbol the time of its newest trade."""
    return {trade.symbol: trade.time for trade in batch}


class Source:
    """The REST side: counts weight as the exchange would, and notes when a request had to wait for it."""

    def __init__(self, market: Market, now: Callable[[], int], capabilities: Capabilities, limit: int) -> None:
        self.waited = 0
        self.used_max = 0
        self.asked: dict[str, int] = {}
        self._market = market
        self._now = now
        self.capabilities = capabilities
        self._weights = capabilities.weights
        self._limit = RollingLimit(limit, 60.0)
        self._places = trio.CapacityLimiter(capabilities.requests_at_once)

    @property
    def weight_used(self) -> int:
        return self._limit.used(trio.current_time())

    @property
    def weight_limit(self) -> int:
        return self._limit.most

    async def _ask(self, what: str, weight: int) -> int:
        """Spend weight and time; return up to which time trades are shown."""
        self.asked[what] = self.asked.get(what, 0) + 1
        async with self._places:
            delay = self._limit.wait(weight, trio.current_time())
            if delay:
                self.waited += 1
                await trio.sleep(delay)
            self._limit.take(weight, trio.current_time())
            self.used_max = max(self.used_max, self.weight_used)
            await trio.sleep(REST_SECONDS)
        return self._now() - REST_LAG

    async def server_time(self) -> int:
        await self._ask("time", 1)
        return self._now()

    async def describe(self, symbols: Sequence[str]) -> ExchangeDescription:
        raise AssertionError("nobody asks for the list of symbols")

    async def trades(self, symbol: str, first_id: int, limit: int) -> TradePage:
        until = await self._ask("trades", self._weights.trades)
        begin = max(0, first_id - FIRST_ID)
        page = self._market.trades[symbol][begin : begin + limit]
        return TradePage([trade for trade in page if trade.time <= until])

    async def aggregates_since(self, symbol: str, time: int, limit: int) -> TradePage:
        until = await self._ask("aggregates", self._weights.aggregates)
        begin = bisect_left(self._market.times[symbol], time)
        page = [trade for trade in self._market.trades[symbol][begin : begin + limit] if trade.time <= until]
        return TradePage(page, cursor=page[-1].last_id + 1 if page else None)

    async def aggregates_from(self, symbol: str, cursor: int, limit: int) -> TradePage:
        until = await self._ask("aggregates", self._weights.aggregates)
        begin = cursor - FIRST_ID
        page = [trade for trade in self._market.trades[symbol][begin : begin + limit] if trade.time <= until]
        return TradePage(page, cursor=page[-1].last_id + 1 if page else None)

    async def newest(self, symbol: str) -> Trade | None:
        until = await self._ask("newest", self._weights.aggregates)
        end = bisect_left(self._market.times[symbol], until)
        return self._market.trades[symbol][end - 1] if end else None

    async def klines(self, symbol: str, first_open_time: int, limit: int) -> KlinePage:
        until = await self._ask("klines", self._weights.klines)
        times = range(first_open_time, first_open_time + limit * MINUTE, MINUTE)
        return KlinePage([self._market.kline(symbol, time, until) for time in times if time <= until])


@attrs.define
class Report:
    """What came of it."""

    bars: int = 0
    """Whole minutes of all symbols."""
    never: list[tuple[str, int]] = attrs.Factory(list)
    """Bars that were not complete at the end."""
    delays: list[float] = attrs.Factory(list)
    """Seconds of exchange time from the close, or the first trade seen after it, until the bar was complete."""
    used_max: int = 0
    waited: int = 0
    """Requests that found the budget used up."""
    asked: dict[str, int] = attrs.Factory(dict)


async def trade(
    symbols: int,
    loss: float,
    *,
    minutes: int = 4,
    limit: int = 3000,
    reads_aggregates: bool = False,
    capabilities: Capabilities = CAPABILITIES,
    seed: int = 1,
) -> Report:
    """Let the market trade for some minutes with messages lost; the first and the last minute are not judged."""
    rng = random.Random(f"{seed}/{symbols}/{loss}")
    market = Market.drawn(symbols, minutes, rng)
    begun = trio.current_time()

    def now() -> int:
        return START + round((trio.current_time() - begun) * MICROSECONDS)

    engine = Engine(market.trades)
    source = Source(market, now, capabilities, limit)
    report = Report()
    complete: dict[tuple[str, int], int] = {}

    def note(events: list[BarEvent]) -> None:
        for event in events:
            if event.bar.complete:
                complete.setdefault((event.bar.symbol, event.bar.open_time), now())

    async def submit(event: FeedEvent) -> None:
        note(engine.handle(event, trio.current_time()))
        await trio.lowlevel.checkpoint()

    instruments = {symbol: Instrument(symbol, "TRADING", 2, 6) for symbol in market.trades}
    repairer = Repairer(
        RepairContext(
            source=source,
            capabilities=capabilities,
            missing_data=EngineMissingData(engine, lambda _symbol: True),
            submit=submit,
            instruments=instruments,
            reads_aggregates=lambda _instrument: reads_aggregates,
        ),
        rng,
    )
    stream = sorted((trade for found in market.trades.values() for trade in found), key=lambda trade: trade.time)
    after: dict[tuple[str, int], int] = {}
    """Time of the first trade seen after each minute."""
    await submit(StreamLive(tuple(market.trades)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(repairer.run)
        at = sum(found.time < START for found in stream)  # what was traded before, nobody listened to
        while now() < START + minutes * MINUTE:
            if now() < START + 10 * MICROSECONDS:
                await submit(ServerTime(now(), trio.current_time(), trio.current_time()))
            await trio.sleep(TICK_SECONDS)
            batch = []
            while at < len(stream) and stream[at].time <= now():
                found = stream[at]
                if rng.random() >= loss:
                    batch.append(found)
                    after.setdefault((found.symbol, found.time // MINUTE * MINUTE - MINUTE), found.time)
                at += 1
            if batch:
                note(
                    engine.handle(
                        TradesArrived(batch, event_times(batch), trio.current_time()), trio.current_time()
                    )
                )
            note(engine.advance(trio.current_time()))
            if engine.symbols_to_repair:
                repairer.wake()
        nursery.cancel_scope.cancel()
    for symbol in market.trades:
        for open_time in range(START + MINUTE, START + (minutes - 1) * MINUTE, MINUTE):
            report.bars += 1
            done = complete.get((symbol, open_time))
            if done is None:
                report.never.append((symbol, open_time))
                continue
            due = max(open_time + MINUTE, after.get((symbol, open_time), 0))
            report.delays.append((done - due) / MICROSECONDS)
    report.used_max, report.waited, report.asked = source.used_max, source.waited, source.asked
    return report
