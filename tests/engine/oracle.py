"""A naive exchange to hold the engine against: Python Decimals, sorted lists, no cleverness."""

from collections.abc import Sequence
from decimal import ROUND_DOWN, Context, Decimal, localcontext
from itertools import groupby
from typing import Any

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.event import BarEvent
from candled.domain.feed_event import MinutesSettled, ServerTime, StartFound, TradesArrived, TradesRepaired
from candled.domain.interval import MINUTE
from candled.domain.numbers import ONE
from candled.domain.trade import Trade
from candled.engine.engine import Engine

UNIT = Decimal(1) / ONE


def naive_bars(trades: Sequence[Trade]) -> dict[int, dict[str, Decimal | int]]:
    """The nine numbers of each minute's kline, by open time, the minutes without trades included."""
    with localcontext(Context(prec=80)):
        bars: dict[int, dict[str, Decimal | int]] = {}
        ordered = sorted((t for t in trades if t.price and t.quantity), key=lambda t: t.first_id)
        for open_time, group in groupby(ordered, key=lambda t: t.time - t.time % MINUTE):
            rows = [(t.price * UNIT, t.quantity * UNIT, t) for t in group]
            previous = max(bars, default=open_time)
            for empty in range(previous + MINUTE, open_time, MINUTE):
                bars[empty] = _empty(bars[previous]["close"])
            quotes = [(p * q).quantize(Decimal("1e-8"), ROUND_DOWN) for p, q, _ in rows]
            takers = [not t.buyer_is_maker for *_, t in rows]
            bars[open_time] = {
                "open": rows[0][0],
                "high": max(p for p, *_ in rows),
                "low": min(p for p, *_ in rows),
                "close": rows[-1][0],
                "volume": sum(q for _, q, _ in rows),
                "quote_volume": sum(quotes),
                "trade_count": sum(t.last_id - t.first_id + 1 for *_, t in rows),
                "taker_buy_volume": sum(q for (_, q, _), taker in zip(rows, takers, strict=True) if taker),
                "taker_buy_quote_volume": sum(q for q, taker in zip(quotes, takers, strict=True) if taker),
            }
        return bars


def _empty(close: Decimal | int) -> dict[str, Decimal | int]:
    nothing = dict.fromkeys(
        ("volume", "quote_volume", "trade_count", "taker_buy_volume", "taker_buy_quote_volume"), Decimal(0)
    )
    return {**dict.fromkeys(("open", "high", "low", "close"), close), **nothing}


def nine(bar: Bar) -> dict[str, Decimal | int]:
    """The numbers of a bar in the oracle's form."""
    with localcontext(Context(prec=80)):
        return {
            name: getattr(bar, name) if name == "trade_count" else getattr(bar, name) * UNIT
            for name in (
                "open",
                "high",
                "low",
                "close",
                "volume",
                "quote_volume",
                "trade_count",
                "taker_buy_volume",
                "taker_buy_quote_volume",
            )
        }


class FakeExchange:
    """Knows all trades of one symbol and answers everything that the engine wants of REST."""

    def __init__(self, trades: Sequence[Trade], *, single_fills: bool = True) -> None:
        self.trades = sorted(trades, key=lambda t: t.first_id)
        self.symbol = self.trades[0].symbol
        self.bars = naive_bars(self.trades)

    def answer(self, engine: Engine) -> list[BarEvent]:
        """Satisfy every wish of the engine until it has none."""
        events: list[BarEvent] = []
        symbol = engine.symbols[self.symbol]
        for _ in range(1000):
            if symbol.wanted_start is not None:
                before = [t.last_id for t in self.trades if t.time < symbol.wanted_start]
                if not before:
                    symbol.coverage.wanted_start = None
                else:
                    events += engine.handle(StartFound(self.symbol, before[-1]), 0.0)
            elif symbol.continuity.missing:
                first, last = symbol.continuity.missing[0]
                wanted = [t for t in self.trades if t.last_id >= first and t.first_id <= last]
                fills = [fill for t in wanted for fill in split(t) if first <= fill.first_id <= last]
                events += engine.handle(TradesRepaired(self.symbol, fills[:7]), 0.0)
            elif unsettled := symbol.unsettled():
                first, last = unsettled[0]
                klines = {at: self.kline(at) for at in range(first, last + MINUTE, MINUTE)}
                events += engine.handle(MinutesSettled(self.symbol, klines), 0.0)
            else:
                return events
        raise AssertionError(f"the engine is never content: {symbol.continuity.missing} {symbol.unsettled()}")

    def kline(self, open_time: int) -> Bar | None:
        row = self.bars.get(open_time)
        if row is None:
            return None
        numbers: dict[str, Any] = {
            name: int(value if name == "trade_count" else value * ONE) for name, value in row.items()
        }
        return Bar(
            symbol=self.symbol,
            interval="1m",
            open_time=open_time,
            close_time=open_time + MINUTE,
            first_trade_id=NO_TRADE,
            last_trade_id=NO_TRADE,
            previous_trade_id=NO_TRADE,
            closed=True,
            **numbers,
        )


def split(trade: Trade) -> list[Trade]:
    """The raw trades of an aggregate whose quantity divides evenly."""
    count = trade.last_id - trade.first_id + 1
    assert trade.quantity % count == 0
    return [
        Trade(trade.symbol, id_, id_, trade.price, trade.quantity // count, trade.time, trade.buyer_is_maker)
        for id_ in range(trade.first_id, trade.last_id + 1)
    ]


def arrived(trades: list[Trade]) -> TradesArrived:
    """They come from the stream, at a local time of 0."""
    return TradesArrived(list(trades), {}, 0.0)


def agreed(engine: Engine, time: int) -> Engine:
    """The engine once the exchange's clock and another symbol agreed on a time later than all trades."""
    for local in (-0.6, -0.3, 0.0):
        engine.handle(ServerTime(time + round(local * 1_000_000), local, local), local)
    engine.time.observe({"ANOTHER": time}, 0.0)
    return engine
