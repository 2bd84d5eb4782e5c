"""Times may go back by a second from one id to the next, over the end of a minute too, however the trades come."""

from collections.abc import Sequence
from itertools import permutations

import pytest

from candled.domain.bar import Bar
from candled.domain.feed_event import StartFound, TradesRepaired
from candled.domain.interval import MINUTE
from candled.domain.trade import Trade
from candled.engine.engine import Engine
from candled.engine.id_watch import ORDER_TOLERANCE
from candled.engine.testimony import REMEMBERED
from tests.engine.oracle import FakeExchange, agreed, arrived

START = 1_700_006_400_000_000
FIRST = 100


ORDERS = list(permutations((1, 2, 3)))


def market(*times: int) -> list[Trade]:
    """Trades with these times, microseconds from the end of the first minute, and whole minutes around them."""
    around = [-MINUTE, *times, MINUTE, 2 * MINUTE]
    return [
        Trade("X", FIRST + number, FIRST + number, 10**8, 10**8, START + MINUTE + time, False)
        for number, time in enumerate(around)
    ]


def bars_of(trades: Sequence[Trade], order: Sequence[int]) -> list[Bar]:
    """The newest bars of both minutes, once the engine wants nothing more of an exchange that has these trades."""
    engine = agreed(Engine(["X"]), trades[-1].time)
    engine.handle(StartFound("X", FIRST - 1), 0.0)
    before = Trade("X", FIRST - 1, FIRST - 1, 10**8, 10**8, START - 1, False)
    events = engine.handle(TradesRepaired("X", [before]), 0.0)
    for number in (0, *order, len(trades) - 2, len(trades) - 1):
        events += engine.handle(arrived([trades[number]]), 0.0)
    events += FakeExchange([before, *trades]).answer(engine)
    newest = {
        event.bar.open_time: event.bar for event in events if event.bar.closed and event.bar.interval == "1m"
    }
    return [newest[START], newest[START + MINUTE]]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "times", [(6_000, -267_000, -683_000), (900_000, -100_000, 0), (0, -ORDER_TOLERANCE, -1), (-1, 0, -2)]
)
def test_trades_around_the_end_of_a_minute_prove_both_in_any_order(
    times: tuple[int, ...], order: tuple[int, ...]
) -> None:
    """The live order alone, in which each is held against the newest, would accept these."""
    first, second = bars_of(market(*times), order)
    assert (first.complete, second.complete) == (True, True)
    earlier = sum(time < 0 for time in times)
    assert (first.trade_count, second.trade_count) == (1 + earlier, 3 - earlier)


@pytest.mark.parametrize("order", ORDERS)
def test_placeholders_take_no_place_in_time(order: tuple[int, ...]) -> None:
    """Those of quantity 0 contradict nothing, whatever their time."""
    trades = market(6_000, -267_000, 5_000)
    trades[2] = Trade("X", trades[2].first_id, trades[2].last_id, 10**8, 0, START, False)
    first, second = bars_of(trades, order)
    assert (first.complete, second.complete) == (True, True)


@pytest.mark.parametrize("order", ORDERS)
def test_times_that_go_back_further_prove_neither(order: tuple[int, ...]) -> None:
    """The second trade lies in the first minute, and is later by id than one of far within the second minute."""
    first, second = bars_of(market(500_000, -600_000, 600_000), order)
    assert not first.complete
    assert not second.complete


def test_a_trade_is_held_against_all_between_not_only_the_nearest_minute_end() -> None:
    """It is a little earlier than the first trade of the next minute, but far earlier than one before it by id."""
    first, second = bars_of(market(100_000, 30_000_000, -200_000), (1, 2, 3))
    reordered = bars_of(market(100_000, 30_000_000, -200_000), (3, 1, 2))
    assert [first.complete, second.complete] == [bar.complete for bar in reordered] == [False, False]


def test_what_is_not_remembered_is_fetched_again() -> None:
    """By how much times go back is known of the newest trades: REST gives those of both minutes again."""
    times = [6_000, -267_000, *(10_000 + number for number in range(REMEMBERED + 10))]
    first, second = bars_of(market(*times), [1, *range(3, len(times) + 1), 2])
    assert (first.complete, second.complete) == (True, True)
    assert (first.trade_count, second.trade_count) == (2, len(times) - 1)


def test_what_was_forgotten_contradicts_nothing() -> None:
    """A trade whose id is to be fetched again is not held against others, though its time is remembered."""
    trades = market(100_000, 30_000_000, -200_000)
    engine = agreed(Engine(["X"]), trades[-1].time)
    engine.handle(arrived(trades[:3]), 0.0)
    symbol = engine.symbols["X"]
    assert symbol.contradictions(trades[3]) == [START + MINUTE]
    symbol.continuity.unsee(trades[2].first_id, trades[2].last_id)
    assert symbol.contradictions(trades[3]) == []
