"""nautilus_trader: 1-minute bars of trade ticks that are decoded beforehand, one aggregator for each symbol.

Its clock is set to a minute's end before the first trade from there on, so that a trade on the boundary opens the
new bar.
"""

import json
import sys
import time
from collections.abc import Sequence
from decimal import Decimal

from nautilus_trader.common.component import TestClock
from nautilus_trader.data.aggregation import TimeBarAggregator
from nautilus_trader.model.data import Bar, BarType, TradeTick
from nautilus_trader.model.enums import AggressorSide
from nautilus_trader.model.identifiers import InstrumentId, TradeId
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.model.objects import Currency, Price, Quantity

from benchmarks.canned_stream import PRICES, START_MS, messages

MINUTE_NS = 60_000_000_000
UNIT = Decimal("1E-8")


def instrument(symbol: str) -> CurrencyPair:
    return CurrencyPair(
        instrument_id=InstrumentId.from_str(f"{symbol}.BINANCE"),
        raw_symbol=InstrumentId.from_str(f"{symbol}.BINANCE").symbol,
        base_currency=Currency.from_str(symbol.removesuffix("USDT")),
        quote_currency=Currency.from_str("USDT"),
        price_precision=8,
        size_precision=8,
        price_increment=Price.from_str("0.00000001"),
        size_increment=Quantity.from_str("0.00000001"),
        ts_event=0,
        ts_init=0,
    )


def decoded(count: int, instruments: dict[str, CurrencyPair]) -> list[TradeTick]:
    ticks = []
    for message in messages(count, 1):
        data = json.loads(message)["data"]
        ns = data["T"] * 1_000_000
        side = AggressorSide.SELLER if data["m"] else AggressorSide.BUYER
        price, quantity = Price.from_str(data["p"]), Quantity.from_str(data["q"])
        ticks.append(TradeTick(instruments[data["s"]].id, price, quantity, side, TradeId(str(data["t"])), ns, ns))
    return ticks


def aggregate(ticks: Sequence[TradeTick], instruments: dict[str, CurrencyPair]) -> tuple[float, list[Bar]]:
    """CPU seconds, and the bars."""
    clock, bars = TestClock(), list[Bar]()
    clock.set_time(START_MS * 1_000_000)
    take = {}
    aggregators = []
    for each in instruments.values():
        bar_type = BarType.from_str(f"{each.id}-1-MINUTE-LAST-INTERNAL")
        aggregators.append(TimeBarAggregator(each, bar_type, bars.append, clock, interval_type="right-open"))
        take[each.id] = aggregators[-1].handle_trade_tick
    minute_end = START_MS * 1_000_000 + MINUTE_NS
    begun = time.process_time()
    for tick in ticks:
        if tick.ts_event >= minute_end:
            for due in clock.advance_time(minute_end):
                due.handle()
            minute_end += MINUTE_NS
        take[tick.instrument_id](tick)
    return time.process_time() - begun, bars


def units(value: object) -> int:
    return int(Decimal(str(value)) / UNIT)


def main() -> None:
    count = int(sys.argv[1])
    instruments = {symbol: instrument(symbol) for symbol in PRICES}
    ticks = decoded(count, instruments)
    aggregate(ticks, instruments)  # the first pass warms up
    cpu, bars = aggregate(ticks, instruments)
    rows = {
        f"{bar.bar_type.instrument_id.symbol} {bar.ts_event // 1000}": [
            units(value) for value in (bar.open, bar.high, bar.low, bar.close, bar.volume)
        ]
        for bar in bars
    }
    print(json.dumps({"cpu": cpu, "bars": rows}), flush=True)


if __name__ == "__main__":
    main()
