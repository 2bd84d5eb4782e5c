"""The synthetic market is a pure function: the same past whenever and in whatever order it is looked at."""

from itertools import groupby, pairwise
from operator import attrgetter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candled.embedded_exchange.market import MINUTE, Fill
from candled.embedded_exchange.synthetic import LISTING, SyntheticMarket
from tests.embedded_exchange.worlds import NOON, SYMBOLS


def fills_of(market: SyntheticMarket, symbol: str, minutes: int, *, at: int = NOON) -> list[Fill]:
    first, end = market.block_at(symbol, at), market.block_at(symbol, at + minutes * MINUTE)
    return [fill for index in range(first, end) for fill in market.block(symbol, index)]


def test_seed_decides_the_market() -> None:
    """Two markets of one seed are equal, in whatever order they are read."""
    one, other = SyntheticMarket(7, SYMBOLS), SyntheticMarket(7, SYMBOLS)
    indexes = range(one.block_at("BTCUSDT", NOON), one.block_at("BTCUSDT", NOON) + 30)
    forward = {index: one.block("BTCUSDT", index) for index in indexes}
    backward = {index: other.block("BTCUSDT", index) for index in reversed(indexes)}
    assert forward == backward


def test_another_seed_is_another_market() -> None:
    assert fills_of(SyntheticMarket(1, SYMBOLS), "BTCUSDT", 3) != fills_of(
        SyntheticMarket(2, SYMBOLS), "BTCUSDT", 3
    )


def test_the_other_symbols_do_not_change_a_symbol() -> None:
    alone, among = SyntheticMarket(1, ("ETHUSDT",)), SyntheticMarket(1, SYMBOLS)
    assert fills_of(alone, "ETHUSDT", 5) == fills_of(among, "ETHUSDT", 5)


@pytest.mark.parametrize("symbol", [*SYMBOLS, "XYZBTC"])
@pytest.mark.parametrize("rate", [0.02, 1, 200])
def test_ids_are_contiguous_and_times_never_go_back(symbol: str, rate: float) -> None:
    market = SyntheticMarket(3, (*SYMBOLS, "XYZBTC"), rate=rate)
    midnight = NOON + 12 * 60 * MINUTE
    fills = fills_of(market, symbol, 40 if rate < 100 else 2, at=midnight - MINUTE)
    for before, after in pairwise(fills):
        assert after.first_id == before.first_id + 1
        assert after.time >= before.time
        assert after.aggregate_id - before.aggregate_id in {0, 1}


def test_aggregates_are_uniform() -> None:
    """The fills of an aggregate share price, time and side."""
    fills = fills_of(SyntheticMarket(1, SYMBOLS), "BTCUSDT", 20)
    groups = [list(group) for _, group in groupby(fills, attrgetter("aggregate_id"))]
    assert any(len(group) > 2 for group in groups)
    assert all(len({(fill.price, fill.time, fill.buyer_is_maker) for fill in group}) == 1 for group in groups)


@settings(max_examples=60, deadline=None)
@given(symbol=st.sampled_from(SYMBOLS), rate=st.sampled_from([0.05, 1, 30]), minute=st.integers(0, 3_000_000))
def test_a_trade_is_found_by_its_id(symbol: str, rate: float, minute: int) -> None:
    market = SyntheticMarket(5, SYMBOLS, rate=rate)
    index = market.block_at(symbol, LISTING + minute * MINUTE)
    for fill in market.block(symbol, index):
        assert market.block_of_trade(symbol, fill.first_id) == index
        assert market.block_of_aggregate(symbol, fill.aggregate_id) == index


def test_every_day_has_the_same_number_of_trades() -> None:
    market = SyntheticMarket(1, SYMBOLS, rate=0.01)
    day = fills_of(market, "BTCUSDT", 1440, at=NOON - 720 * MINUTE)
    assert len(day) == 1800
    following = fills_of(market, "BTCUSDT", 1440, at=NOON + 720 * MINUTE)
    assert following[0].first_id == day[0].first_id + 1800


def test_market_has_hard_cases() -> None:
    """There are empty minutes, bursts, trades on a boundary, and several aggregates in a millisecond."""
    market = SyntheticMarket(1, SYMBOLS)
    btc, pepe = fills_of(market, "BTCUSDT", 120), fills_of(market, "PEPEUSDT", 120)
    assert any(fill.time % MINUTE == 0 for fill in btc), "a trade exactly on the boundary"
    assert any(
        before.time // 1000 == after.time // 1000 and before.aggregate_id != after.aggregate_id
        for before, after in pairwise(btc)
    ), "several aggregates in a millisecond"
    assert len({fill.time // MINUTE for fill in pepe}) < 110, "whole minutes without a trade"
    per_minute = [len(list(group)) for _, group in groupby(btc, lambda fill: fill.time // MINUTE)]
    assert max(per_minute) > 4 * sorted(per_minute)[len(per_minute) // 2], "bursts"


def test_numbers_have_the_digits_of_the_real_symbols() -> None:
    market = SyntheticMarket(1, SYMBOLS)
    for symbol in SYMBOLS:
        rules = market.symbols[symbol]
        for fill in fills_of(market, symbol, 30):
            assert fill.price > 0
            assert fill.price % rules.tick_size == 0
            assert fill.quantity % rules.step_size == 0
    day = fills_of(market, "PEPEUSDT", 1440)
    assert sum(fill.quantity for fill in day) // 10**8 > 10**12, "more than a scaled 64-bit integer holds"


def candles(market: SyntheticMarket, symbol: str, minutes: int) -> list[tuple[int, int, int, int, int]]:
    """Open, high, low, close and volume of the minutes that had trades."""
    groups = groupby(fills_of(market, symbol, minutes), lambda fill: fill.time // MINUTE)
    found = []
    for fills in (list(group) for _, group in groups):
        prices = [fill.price for fill in fills]
        volume = sum(fill.quantity for fill in fills)
        found.append((prices[0], max(prices), min(prices), prices[-1], volume))
    return found


def test_candles_look_real() -> None:
    """Candles have wicks, and open near the close before."""
    bars = candles(SyntheticMarket(1, SYMBOLS), "BTCUSDT", 300)
    ranges = [high - low for _, high, low, _, _ in bars]
    bodies = [abs(close - open_) for open_, _, _, close, _ in bars]
    assert sum(ranges) > 1.5 * sum(bodies)
    steps = [abs(after[0] - before[3]) for before, after in pairwise(bars)]
    assert sum(steps) < 0.5 * sum(bodies)


def test_volume_follows_volatility() -> None:
    """There are calm and volatile hours, and most is traded in the volatile ones."""
    bars = candles(SyntheticMarket(1, SYMBOLS), "BTCUSDT", 720)
    quarters = [bars[first : first + 15] for first in range(0, len(bars) - 14, 15)]
    quarters.sort(key=lambda bars: sum(high - low for _, high, low, _, _ in bars))
    calm, wild = ([bar for bars in part for bar in bars] for part in (quarters[:12], quarters[-12:]))
    assert sum(high - low for _, high, low, _, _ in wild) > 2 * sum(high - low for _, high, low, _, _ in calm)
    assert sum(bar[4] for bar in wild) > 1.5 * sum(bar[4] for bar in calm)


def test_price_stays_in_range() -> None:
    """The price of a year stays about where it was."""
    market = SyntheticMarket(1, SYMBOLS, rate=0.001)
    days = [fills_of(market, "BTCUSDT", 30, at=NOON + day * 1440 * MINUTE) for day in range(0, 365, 7)]
    prices = [fills[0].price for fills in days if fills]
    assert len(prices) > 10
    assert 0.5 < min(prices) / max(prices) < 0.97


@pytest.mark.parametrize("rate", [1, 30])
def test_blocks_of_a_minute_meet(rate: int) -> None:
    """However finely a minute is cut, its path is one: no block begins far from where the one before it ended."""
    fills = fills_of(SyntheticMarket(1, SYMBOLS, rate=rate), "BTCUSDT", 3)
    steps = [abs(after.price - before.price) for before, after in pairwise(fills)]
    assert max(steps) < fills[0].price // 500


def test_the_identity_names_seed_and_rate() -> None:
    assert SyntheticMarket(4, SYMBOLS).identity == "synthetic seed=4"
    assert SyntheticMarket(4, SYMBOLS, rate=50).identity == "synthetic seed=4 rate=50"
