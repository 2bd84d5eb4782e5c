"""The minutes in memory, and the price before one of them."""

from msgspec.structs import replace

from candled.domain.bar import Bar
from candled.domain.interval import MINUTE
from candled.domain.trade import Trade
from candled.engine.minute import Minute
from candled.engine.symbol import SymbolEngine
from candled.engine.window import Window

START = 1_700_006_400_000_000 // MINUTE * MINUTE


def traded(window: Window, minute: int, trade_id: int, price: int) -> None:
    found = window.insert(Minute("X", START + minute * MINUTE))
    window.first_trade(found)
    found.add(Trade("X", trade_id, trade_id, price, 1, found.open_time, False))


def test_reload_includes_interleaved_minutes() -> None:
    """Its ids are fetched again; those of the newest minute among them would be counted twice there."""

    def bar(number: int, first_id: int, last_id: int) -> Bar:
        begin = START + number * MINUTE
        ids = first_id, last_id, first_id - 1
        return Bar("X", "1m", begin, begin + MINUTE, 7, 7, 7, 7, 9, 9, 9, 0, 0, *ids, True, True)

    requested: list[int] = []
    engine = SymbolEngine("X", iter(range(1, 99)).__next__, requested.append)
    older, newest = bar(1, 10, 20), replace(bar(2, 19, 29), previous_trade_id=20)
    engine.restore([bar(0, 1, 9), older, newest])
    assert older.open_time not in engine.minutes.window
    engine.minutes.add(Trade("X", 20, 20, 7, 1, older.open_time, False), [])
    assert requested == [older.open_time]
    engine.reload(older.open_time, older)
    assert engine.continuity.missing == [(10, 29)]
    assert engine.minutes.window[newest.open_time].trade_count == 0


def test_price_before_is_that_of_the_nearest_trade() -> None:
    window = Window()
    traded(window, 0, 5, 100)
    assert window.close_before(START + 3 * MINUTE) == 100


def test_price_before_an_evicted_trade() -> None:
    """After a restart a complete bar between the two may be stored and not in memory: its close is the price."""
    window = Window()
    traded(window, 0, 5, 100)
    window.knows_before(START + 3 * MINUTE, 9)
    assert window.close_before(START + 3 * MINUTE) is None
    traded(window, 2, 9, 200)
    assert window.close_before(START + 3 * MINUTE) == 200


def test_price_before_the_oldest_minute() -> None:
    """The price before the oldest minute in memory is unknown if ids between are in no minute."""
    window = Window()
    window.begin_after(5, 100)
    assert window.close_before(START) == 100
    window.knows_before(START + 3 * MINUTE, 9)
    assert window.close_before(START + 3 * MINUTE) is None


def test_interleaved_minutes_are_cleared_together() -> None:
    """Ids of two minutes interleave: both are cleared, and the range is widened to all of their ids."""
    window = Window()
    traded(window, 0, 5, 100)
    traded(window, 1, 6, 100)
    window[START + MINUTE].add(Trade("X", 8, 8, 100, 1, START + MINUTE, False))
    traded(window, 2, 7, 100)
    traded(window, 3, 9, 100)
    assert window.clear(8, 8) == (6, 8, [START + MINUTE, START + 2 * MINUTE])
    assert [window[START + n * MINUTE].trade_count for n in range(4)] == [1, 0, 0, 1]


def test_stale_empty_minute_gives_no_price() -> None:
    """A trade before the empty minute became known after it had closed: what it repeats is stale."""
    window = Window()
    traded(window, 0, 5, 100)
    empty = window.insert(Minute("X", START + MINUTE))
    empty.closed_bar(previous_id=5, previous_close=100, proven=False, revision=0)
    assert window.close_before(START + 2 * MINUTE) == 100
    window.drop_oldest()
    window.knows_before(START, 6)
    assert window.close_before(START + 2 * MINUTE) is None
    window.drop_oldest()
    assert window.close_before(START + 2 * MINUTE) is None
