"""The clock closes the minutes of many symbols in several calls, so that none of them takes long."""

from itertools import chain
from typing import Final

from candled.domain.event import BarEventKind
from candled.domain.feed_event import SymbolRemoved, TradesArrived
from candled.domain.interval import MICROSECONDS, MINUTE
from candled.domain.trade import Trade
from candled.engine.engine import CLOSE_GRACE, CLOSES_AT_ONCE, Engine
from tests.engine.oracle import agreed

START: Final = 1_700_006_400_000_000 // MINUTE * MINUTE
SYMBOLS: Final = tuple(f"S{number:03}" for number in range(2 * CLOSES_AT_ONCE + 1))
OVER: Final = (MINUTE + CLOSE_GRACE) / MICROSECONDS
"""Local seconds from ``START`` until the clock closes its minute."""


def traded() -> Engine:
    """An engine with a trade of each symbol in the minute from ``START`` on, which is now."""
    engine = agreed(Engine(SYMBOLS), START)
    trades = [Trade(name, 1, 1, 10**10, 10**8, START, False) for name in SYMBOLS]
    engine.handle(TradesArrived(trades, {}, 0.0), 0.0)
    return engine


def closed(engine: Engine, local: float) -> list[str]:
    """Symbols whose minute the clock closes in one call."""
    return [
        event.bar.symbol
        for event in engine.advance(local)
        if event.kind is BarEventKind.CLOSE and event.bar.interval == "1m"
    ]


def test_some_symbols_in_each_call() -> None:
    """Every minute is closed once, in as many calls as it takes, each of them due at once."""
    engine = traded()
    calls = []
    while engine.seconds_to_next_close(OVER) == 0.0:
        calls.append(closed(engine, OVER))
    assert [len(call) for call in calls] == [CLOSES_AT_ONCE, CLOSES_AT_ONCE, 1]
    assert sorted(chain.from_iterable(calls)) == list(SYMBOLS)
    assert 59.9 < engine.seconds_to_next_close(OVER) < 60.1


def test_trades_between_calls() -> None:
    """A trade that comes meanwhile closes its symbol's minute, which is not closed again."""
    engine = traded()
    first = closed(engine, OVER)
    last = SYMBOLS[-1]
    assert last not in first
    later = Trade(last, 2, 2, 10**10, 10**8, START + MINUTE, False)
    events = engine.handle(TradesArrived([later], {}, OVER), OVER)
    assert next(event.bar.open_time for event in events if event.kind is BarEventKind.CLOSE) == START
    rest = closed(engine, OVER) + closed(engine, OVER)
    assert sorted(first + rest) == list(SYMBOLS[:-1])


def test_symbol_removed_between_calls() -> None:
    """A symbol that is served no more is left out."""
    engine = traded()
    first = closed(engine, OVER)
    engine.handle(SymbolRemoved(SYMBOLS[-1]), OVER)
    assert sorted(first + closed(engine, OVER)) == list(SYMBOLS[:-1])
    assert closed(engine, OVER) == []
    assert engine.seconds_to_next_close(OVER) > 0
