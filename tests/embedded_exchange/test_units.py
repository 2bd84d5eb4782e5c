"""Numbers of the wire, exact both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candled.embedded_exchange.units import decimal_text, to_units


@given(st.integers(0, 10**30))
def test_units_round_trip(units: int) -> None:
    """Units are written with eight decimals and read back as the same."""
    text = decimal_text(units)
    assert int(text.replace(".", "")) == units
    assert len(text.partition(".")[2]) == 8
    assert to_units(text) == units


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("7139.89", 713989000000),
        ("1", 100000000),
        ("0.00000001", 1),
        ("0.1000000000", 10000000),
        ("007.5", 750000000),
    ],
)
def test_recorded_decimals_of_any_length(text: str, units: int) -> None:
    """Decimals of a recording are read whatever their number of places."""
    assert to_units(text) == units


@pytest.mark.parametrize("text", ["", ".5", "-1", "1e5", "0.000000001", "1.2.3", "1,5", "٣", "NaN", "1_0"])
def test_what_is_no_plain_decimal_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a plain decimal"):
        to_units(text)
