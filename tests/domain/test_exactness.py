"""An aggregate stands for its fills only where no possible fill is truncated."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candled.domain.exactness import SINGLE_FILLS_MIN, FinestDecimals, aggregates_are_exact, decimals_of
from candled.domain.numbers import DECIMALS, parse_units, quote_units


@pytest.mark.parametrize(
    ("text", "decimals"), [("0.03459000", 5), ("1.00000000", 0), ("0.00000001", 8), ("0", 0), ("120.5", 1)]
)
def test_trailing_zeros_are_no_decimals(text: str, decimals: int) -> None:
    """The decimals of a number do not depend on how it was written."""
    assert decimals_of(parse_units(text)) == decimals


@given(st.integers(0, DECIMALS), st.integers(0, DECIMALS), st.integers(0, 2**32))
def test_exact_means_no_split_is_truncated(price_decimals: int, quantity_decimals: int, seed: int) -> None:
    """Any split of an aggregate into fills sums up like the aggregate exactly where the rule says so."""
    rng = random.Random(seed)
    price = rng.randrange(1, 10**6) * 10 ** (DECIMALS - price_decimals)
    fills = [rng.randrange(1, 1000) * 10 ** (DECIMALS - quantity_decimals) for _ in range(5)]
    same = sum(quote_units(price, fill) for fill in fills) == quote_units(price, sum(fills))
    assert same or not aggregates_are_exact(price_decimals, quantity_decimals)


def test_a_coarse_aggregate_may_be_of_fine_fills() -> None:
    """0.001 at 0.03459 is 0.0002 + 0.0008, whose truncated products lack a unit: its own digits prove nothing."""
    price, fine, rest = (parse_units(text) for text in ("0.03459", "0.0002", "0.0008"))
    assert quote_units(price, fine) + quote_units(price, rest) == quote_units(price, fine + rest) - 1
    finest = FinestDecimals()
    finest.see(price, fine + rest)
    assert not finest.aggregates_are_exact


def test_stated_step_counts() -> None:
    """The exchange's tick and step are taken over, and never narrowed by coarser trades."""
    finest = FinestDecimals()
    finest.state(5, 4)
    finest.see(parse_units("0.03"), parse_units("1"))
    assert (finest.price, finest.quantity, finest.aggregates_are_exact) == (5, 4, False)


def test_a_finer_trade_withdraws_the_verdict() -> None:
    """A step that changes while trades flow is noticed with the first trade that shows it."""
    finest = FinestDecimals()
    finest.state(5, 3)
    assert finest.aggregates_are_exact
    finest.see(parse_units("0.03459"), parse_units("0.0007"))
    assert not finest.aggregates_are_exact


def test_an_unstated_step_needs_many_single_fills() -> None:
    """Without the exchange's statement, a handful of coarse rows does not prove a coarse step."""
    few, many = (FinestDecimals(5, 3, single_fills=count) for count in (SINGLE_FILLS_MIN - 1, SINGLE_FILLS_MIN))
    assert (few.aggregates_are_exact, many.aggregates_are_exact) == (False, True)


def test_units_are_what_finest_numbers_are_multiples_of() -> None:
    """The units follow the decimals, from whole numbers to 10^-8."""
    finest = FinestDecimals()
    units = []
    for decimals in range(DECIMALS + 1):
        finest.state(decimals, decimals)
        units.append((finest.price_unit, finest.quantity_unit))
    assert units[0] == (10**8, 10**8)
    assert units[-1] == (1, 1)
    assert all(coarse[0] == 10 * fine[0] for coarse, fine in pairwise(units))
