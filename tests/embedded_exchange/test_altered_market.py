"""Halts move later ids up, so that the ids of a symbol stay without hole, whatever is halted and when."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from candled.embedded_exchange.altered import AlteredMarket
from candled.embedded_exchange.ledger import Ledger
from candled.embedded_exchange.market import MINUTE
from candled.embedded_exchange.synthetic import SyntheticMarket
from tests.embedded_exchange.worlds import NOON, SYMBOLS

seconds = st.lists(st.integers(0, 1200), unique=True, max_size=6).map(sorted)


@settings(max_examples=40, deadline=None)
@given(symbol=st.sampled_from(SYMBOLS), moments=seconds)
def test_halts_keep_ids_contiguous(symbol: str, moments: list[int]) -> None:
    """Ids are contiguous over halts, and every trade is found by its id."""
    beneath = SyntheticMarket(11, SYMBOLS)
    market = AlteredMarket(beneath, seed=1)
    halts = [
        (NOON + begin * 1_000_000, NOON + end * 1_000_000)
        for begin, end in zip(moments[::2], moments[1::2], strict=False)
    ]
    for begin, end in halts:
        market.halt(symbol, begin)
        market.resume(symbol, end)
    if len(moments) % 2:
        market.halt(symbol, NOON + moments[-1] * 1_000_000)
        halts.append((NOON + moments[-1] * 1_000_000, NOON + 10_000 * MINUTE))
    ledger = Ledger(market)

    fills = list(ledger.fills_between(symbol, NOON - MINUTE, NOON + 25 * MINUTE))

    untouched = Ledger(beneath).fills_between(symbol, NOON - MINUTE, NOON + 25 * MINUTE)
    kept = [fill for fill in untouched if not any(begin <= fill.time < end for begin, end in halts)]
    assert [(f.price, f.quantity, f.time) for f in fills] == [(f.price, f.quantity, f.time) for f in kept]
    assert all(after.first_id == before.first_id + 1 for before, after in pairwise(fills))
    assert all(after.aggregate_id - before.aggregate_id in {0, 1} for before, after in pairwise(fills))
    for fill in fills[::7]:
        assert next(ledger.fills_from(symbol, fill.first_id, NOON + 25 * MINUTE)) == fill
        found = next(ledger.aggregates_from(symbol, fill.aggregate_id, NOON + 25 * MINUTE))
        assert fill in found


def test_halt_has_no_klines() -> None:
    """While a symbol is halted there are neither trades nor klines."""
    market = AlteredMarket(SyntheticMarket(1, SYMBOLS), seed=1)
    market.halt("BTCUSDT", NOON + MINUTE // 2)
    assert market.has_kline("BTCUSDT", NOON, NOON + MINUTE), "it was traded in the first half"
    assert not market.has_kline("BTCUSDT", NOON + MINUTE, NOON + 2 * MINUTE)
    assert not market.is_trading("BTCUSDT", NOON + MINUTE, NOON + MINUTE + 1)
    assert market.is_trading("ETHUSDT", NOON + MINUTE, NOON + MINUTE + 1)
