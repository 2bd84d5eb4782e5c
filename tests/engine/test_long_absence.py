"""After days of absence every minute that was passed over is decided in the end."""

from itertools import count

from candled.domain.bar import Bar
from candled.domain.event import BarEvent
from candled.domain.interval import MINUTE
from candled.domain.trade import Trade
from candled.engine.symbol import SymbolEngine

START = 1_700_006_400_000_000
DAYS_IN_MINUTES = 3 * 1440


def trade(number: int) -> Trade:
    """Each minute has one trade, and ids count the minutes."""
    return Trade("X", number, number, 100, 10**8, START + number * MINUTE, False)


def bar(number: int) -> Bar:
    return Bar(
        "X", "1m", START + number * MINUTE, START + (number + 1) * MINUTE, 100, 100, 100, 100, 10**8, 100, 1,
        10**8, 100, number, number, number - 1, True, True,
    )  # fmt: skip


def test_minute_before_an_absence_is_completed() -> None:
    """The minute before days of klines still gets its trades."""
    engine, events = SymbolEngine("X", count(1).__next__, list[int]().append), list[BarEvent]()
    engine.restore([bar(0)])
    for number in (DAYS_IN_MINUTES, DAYS_IN_MINUTES + 1):
        engine.apply(trade(number), events)
        engine.settle(START + (number + 1) * MINUTE, events)
    for begin in range(2, DAYS_IN_MINUTES, 1000):
        engine.adopt([bar(number) for number in range(begin, min(begin + 1000, DAYS_IN_MINUTES))], 0, events)
        engine.settle(START + (DAYS_IN_MINUTES + 2) * MINUTE, events)
    assert engine.continuity.missing == [(1, 1)]
    engine.apply(trade(1), events)
    engine.settle(START + (DAYS_IN_MINUTES + 2) * MINUTE, events)
    emitted = {event.bar.open_time: event.bar for event in events if event.bar.closed}
    assert sorted(emitted) == [START + number * MINUTE for number in range(1, DAYS_IN_MINUTES + 1)]
    assert all(bar.complete for bar in emitted.values())


def test_klines_after_an_open_gap() -> None:
    """Klines after a minute that still lacks trades are taken, though nothing later has closed."""
    engine, events = SymbolEngine("X", count(1).__next__, list[int]().append), list[BarEvent]()
    engine.restore([bar(0)])
    engine.continuity.exists(5000)
    engine.adopt([bar(number) for number in range(2, 1000)], 0, events)
    engine.settle(START + DAYS_IN_MINUTES * MINUTE, events)
    assert engine.continuity.missing == [(1, 1), (1000, 5000)], (
        "or the same klines would be fetched again and again"
    )
    engine.apply(trade(1), events)
    engine.settle(START + DAYS_IN_MINUTES * MINUTE, events)
    emitted = {event.bar.open_time: event.bar for event in events if event.bar.closed}
    assert sorted(emitted) == [START + number * MINUTE for number in range(1, 1000)]
    assert all(bar.complete for bar in emitted.values())
