"""Exact decimals as scaled integers."""

from decimal import Context, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candled.domain.numbers import ONE, format_units, parse_units, quote_units, to_decimal

units = st.integers(0, 10**30)


@given(units)
def test_text_round_trip(number: int) -> None:
    """A number that was written as text reads back as the same number."""
    assert parse_units(format_units(number)) == number


@given(units)
def test_the_written_number_equals_the_decimal(number: int) -> None:
    with localcontext(Context(prec=60)):
        assert Decimal(format_units(number)) * ONE == number
        assert to_decimal(number) * ONE == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("96000.12000000", 9_600_012_000_000),
        ("0.00000712", 712),
        ("0.1", 10_000_000),
        ("7", 700_000_000),
        ("1.1200000000", 112_000_000),
        ("1234567890123.00000000", 123_456_789_012_300_000_000),
    ],
)
def test_plain_decimals_are_read_exactly(text: str, number: int) -> None:
    assert parse_units(text) == number


NOT_PLAIN = "-1.00000000 +1.00000000 1e5 1_0.00000000 .50000000 1. nan 1.000000001 0x1.00000000"


@pytest.mark.parametrize("text", ["", " 1.00000000", *NOT_PLAIN.split(), "१.00000000", "1.0000000١", "9" * 60])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"decimal"):
        parse_units(text)


def test_a_quote_volume_is_truncated_not_rounded() -> None:
    # Row 3 of a recorded ETHBTC capture: 0.06321300 x 0.31620000 = 0.0199879506, quoteQty 0.01998795
    assert quote_units(parse_units("0.06321300"), parse_units("0.31620000")) == parse_units("0.01998795")
    assert quote_units(parse_units("0.00000003"), parse_units("0.99999999")) == 2
