"""candled on trades that are decoded beforehand, in its environment: the sums of its minutes alone, or its engine.

usage: python -m benchmarks.peers.candled_bars TRADES (sums | TRADES_AT_ONCE)

*sums* makes nothing but the bars, in all fields. The engine, a stage of ``benchmarks.stages``, also proves by ids
that no trade is missing, emits the forming bar after each batch of TRADES_AT_ONCE, and rolls minutes up.
"""

import json
import sys
import time
from collections.abc import Sequence

from benchmarks.stages import Way
from candled.domain.bar import Bar
from candled.domain.event import BarEventKind
from candled.domain.feed_event import TradesArrived
from candled.domain.interval import MINUTE
from candled.domain.trade import Trade
from candled.engine.minute import Minute


def sums(trades: Sequence[Trade]) -> list[Bar]:
    """Bars of all minutes but the last one of each symbol, which is not over."""
    forming: dict[str, Minute] = {}
    bars = []
    for trade in trades:
        minute = forming.get(trade.symbol)
        if minute is None or trade.time >= minute.close_time:
            if minute is not None:
                bars.append(minute.forming_bar())
            minute = forming[trade.symbol] = Minute(trade.symbol, trade.time - trade.time % MINUTE)
        minute.add(trade)
    return bars


def main() -> None:
    count, at_once = int(sys.argv[1]), 1 if sys.argv[2] == "sums" else int(sys.argv[2])
    way = Way(count, at_once)
    for stage in (way.split, way.decode, way.take):
        stage()
    if sys.argv[2] == "sums":
        batches = (event.trades for event in way._feed_events if isinstance(event, TradesArrived))
        trades = [trade for batch in batches for trade in batch]
        assert len(trades) == count
        sums(trades)  # the first pass warms up
        begun = time.process_time()
        bars = sums(trades)
        cpu = time.process_time() - begun
    else:
        way.aggregate()
        begun = time.process_time()
        way.aggregate()
        cpu = time.process_time() - begun
        closed = (each for events in way._bar_events for each in events if each.kind == BarEventKind.CLOSE)
        bars = [event.bar for event in closed if event.bar.interval == "1m"]
    rows = {f"{bar.symbol} {bar.open_time}": [bar.open, bar.high, bar.low, bar.close, bar.volume] for bar in bars}
    print(json.dumps({"cpu": cpu, "bars": rows}), flush=True)


if __name__ == "__main__":
    main()
