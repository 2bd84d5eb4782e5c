"""Closed minutes that lack trades are taken from their klines, where counting leaves no trade out."""

from msgspec.structs import replace

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.event import BarEvent
from candled.domain.feed_event import FeedEvent, MinutesCounted, TradesArrived, TradesRepaired
from candled.domain.interval import MINUTE
from candled.domain.numbers import ONE
from candled.domain.trade import Trade
from candled.engine.engine import Engine
from candled.engine.minute import Minute
from tests.engine.oracle import agreed

START = 29_000_000 * MINUTE


def trade(id_: int, minute: int, *, second: int = 0, price: int = 100) -> Trade:
    return Trade("X", id_, id_, price * ONE, ONE, START + minute * MINUTE + second * 1_000_000, False)


def kline(minute: int, *trades: Trade) -> Bar:
    """What REST says of a minute of these trades."""
    found = Minute("X", START + minute * MINUTE)
    for each in trades:
        found.add(each)
    bar = found.closed_bar(previous_id=NO_TRADE, previous_close=100 * ONE, proven=False, revision=0)
    return replace(bar, first_trade_id=NO_TRADE, last_trade_id=NO_TRADE)


class Stand:
    """An engine, and the bars that it emitted last."""

    def __init__(self) -> None:
        self.engine = agreed(Engine(["X"]), START + 10 * MINUTE)
        self.bars: dict[int, Bar] = {}

    def handle(self, event: FeedEvent) -> list[BarEvent]:
        events = [event for event in self.engine.handle(event, 0.0) if event.bar.interval == "1m"]
        self.bars |= {(event.bar.open_time - START) // MINUTE: event.bar for event in events}
        return events

    def arrive(self, *trades: Trade) -> None:
        for each in trades:
            self.handle(TradesArrived([each], {}, 0.0))

    @property
    def missing(self) -> list[tuple[int, int]]:
        return self.engine.symbols["X"].continuity.missing

    @property
    def countable(self) -> list[tuple[int, int]]:
        runs = self.engine.symbols["X"].minutes.countable()
        return [((first - START) // MINUTE, (last - START) // MINUTE) for first, last in runs]


ALL = [trade(10, 0), trade(11, 1), trade(12, 1, price=120), trade(13, 1), trade(14, 2), trade(15, 2), trade(16, 3)]


def lossy(*lost: int) -> Stand:
    stand = Stand()
    stand.arrive(*(each for each in ALL if each.first_id not in lost))
    return stand


def test_minute_is_taken_from_its_kline() -> None:
    """A minute that lacks a trade inside becomes whole by a kline whose count meets the ids at both ends."""
    stand = lossy(12)
    assert (stand.missing, stand.countable) == ([(12, 12)], [(1, 1)])
    stand.handle(MinutesCounted("X", [kline(1, *ALL[1:4])]))
    bar = stand.bars[1]
    assert (bar.high, bar.trade_count, bar.complete) == (120 * ONE, 3, True)
    assert (bar.first_trade_id, bar.last_trade_id, bar.previous_trade_id) == (11, 13, 10)
    assert (stand.missing, stand.countable) == ([], [])


def test_minutes_across_a_gap_are_counted_together() -> None:
    """A gap across the end of a minute concerns both; their counts decide whose its trades are."""
    stand = lossy(13, 14)
    assert stand.countable == [(1, 2)]
    stand.handle(MinutesCounted("X", [kline(1, *ALL[1:4]), kline(2, *ALL[4:6])]))
    assert [(stand.bars[at].last_trade_id, stand.bars[at].complete) for at in (1, 2)] == [(13, True), (15, True)]


def test_counts_that_do_not_meet_take_nothing() -> None:
    """A kline that counts too few leaves everything as it was."""
    stand = lossy(12)
    assert stand.handle(MinutesCounted("X", [kline(1, ALL[1], ALL[3])])) == []
    assert stand.missing == [(12, 12)]


def test_kline_that_contradicts_trades_is_not_taken() -> None:
    """A trade seen that cannot be among those of the kline keeps the bar incomplete."""
    stand = lossy(12)
    wrong = replace(kline(1, *ALL[1:4]), low=110 * ONE)
    assert stand.handle(MinutesCounted("X", [wrong])) == []
    assert stand.missing == [(12, 12)]


def test_kline_with_a_foreign_trade_is_refused() -> None:
    """Its count meets the ids, but its volume leaves nothing for the trade: that belongs to the next minute."""
    stand = lossy(14)
    wrong = replace(kline(1, *ALL[1:4]), trade_count=4)
    assert stand.handle(MinutesCounted("X", [wrong])) == []
    assert stand.missing == [(14, 14)]


def test_kline_with_other_sums_is_refused() -> None:
    """Every trade of its count was seen, so every sum must be equal."""
    stand = lossy(14)
    wrong = replace(kline(1, *ALL[1:4]), taker_buy_volume=kline(1, *ALL[1:4]).taker_buy_volume + 1)
    assert stand.handle(MinutesCounted("X", [wrong, kline(2, *ALL[4:6])])) == []
    assert stand.missing == [(14, 14)]


def test_forming_minute_is_not_counted() -> None:
    """A minute that has not closed is left to trades."""
    stand = Stand()
    stand.arrive(ALL[0], ALL[1], ALL[3])
    assert stand.countable == []
    stand.handle(MinutesCounted("X", [kline(1, *ALL[1:4])]))
    assert stand.missing == [(12, 12)]


def test_late_trade_after_counting_is_a_duplicate() -> None:
    """A trade that was accounted for by a kline is not counted again."""
    stand = lossy(12)
    stand.handle(MinutesCounted("X", [kline(1, *ALL[1:4])]))
    assert stand.handle(TradesRepaired("X", [ALL[2]])) == []
