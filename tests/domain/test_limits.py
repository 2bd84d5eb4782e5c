"""What a time and a symbol from outside may be."""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candled.domain.limits import TIME_MAX, TIME_MIN, is_symbol, is_time


def test_times_are_of_1970_to_2100() -> None:
    """The two limits are included, and the microseconds beside them are not."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert epoch + timedelta(microseconds=TIME_MIN) == epoch
    assert epoch + timedelta(microseconds=TIME_MAX) == datetime(2100, 1, 1, tzinfo=UTC)
    assert [is_time(time) for time in (TIME_MIN - 1, TIME_MIN, TIME_MAX, TIME_MAX + 1)] == [
        False,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("text", ["BTCUSDT", "BTC-USD", "币安人生USDT", "1000SATS_USDC.P", "X" * 80])
def test_symbols_of_any_script_pass(text: str) -> None:
    """Symbols of exchanges are accepted, whatever script they are written in."""
    assert is_symbol(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "BTC USDT",
        "BTC\0",
        "BTC\n",
        "\x1b[31mBTC",
        "\x7f",
        "\x9b31m",
        "\u202eTDSUCTB",
        "\ud800",
        "X" * 81,
        "币" * 27,
    ],
)
def test_other_texts_are_no_symbols(text: str) -> None:
    """Empty, overlong and unprintable texts are refused."""
    assert not is_symbol(text)


@given(st.text(max_size=90))
def test_symbols_fit_a_folder_name(text: str) -> None:
    """Every symbol that passes can name a folder of the history, and be sent as UTF-8."""
    if is_symbol(text):
        assert len("symbol=" + quote(text, safe="")) <= 255
