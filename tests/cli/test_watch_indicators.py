"""Averages over the candles of ``watch``: exact against fractions, and drawn where they belong."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest

from candled.cli.watch.control import Effect, obey
from candled.cli.watch.frame import draw
from candled.cli.watch.indicators import EMA_BARS, SMA_BARS, Indicator, values
from candled.cli.watch.model import Watch
from candled.client import Bar
from tests.cli.fakes import make_bar

MIDNIGHT = datetime(2026, 5, 8, tzinfo=UTC)
UNIT = 10**8


def bars_from(start: datetime, count: int, seed: int = 1) -> list[Bar]:
    """Minutes with prices and volumes of eight decimals."""
    rng, bars = Random(seed), []
    for number in range(count):
        close, volume = Decimal(rng.randrange(1, 10**12)).scaleb(-8), Decimal(rng.randrange(10**9)).scaleb(-8)
        opened = start + timedelta(minutes=number)
        numbers = {"close": close, "volume": volume, "quote_volume": round(close * volume, 8)}
        bars.append(make_bar(open_time=opened, close_time=opened + timedelta(minutes=1), **numbers))
    return bars


def nearest(value: Fraction | float) -> Decimal:
    """With eight decimals, halves up."""
    assert isinstance(value, Fraction)  # a sum of fractions, which begins with an integer
    return Decimal(int(value * UNIT + Fraction(1, 2))).scaleb(-8)


def test_sma_is_the_mean_of_the_newest_closes() -> None:
    """From the first bar on that has enough before it."""
    bars = bars_from(MIDNIGHT, 60)
    closes = [Fraction(bar.close) for bar in bars]
    expected = [nearest(sum(closes[end - SMA_BARS : end]) / SMA_BARS) for end in range(SMA_BARS, 61)]
    assert values(Indicator.SMA, bars) == [None] * (SMA_BARS - 1) + expected


def test_ema_begins_as_a_mean_and_keeps_every_fraction() -> None:
    """The sixteen decimals that it is kept with are not seen in eight."""
    bars = bars_from(MIDNIGHT, 200)
    closes = [Fraction(bar.close) for bar in bars]
    average = sum(closes[:EMA_BARS]) / EMA_BARS
    expected = [nearest(average)]
    for close in closes[EMA_BARS:]:
        average += (close - average) * Fraction(2, EMA_BARS + 1)
        expected.append(nearest(average))
    assert values(Indicator.EMA, bars) == [None] * (EMA_BARS - 1) + expected


def test_vwap_begins_at_midnight_and_not_in_the_middle_of_a_day() -> None:
    """The bars before the first midnight among them have none."""
    bars = bars_from(MIDNIGHT - timedelta(minutes=3), 10)
    found = values(Indicator.VWAP, bars)
    assert found[:3] == [None] * 3
    for end in range(4, 11):
        day = bars[3:end]
        quote, volume = sum(Fraction(bar.quote_volume) for bar in day), sum(Fraction(bar.volume) for bar in day)
        assert found[end - 1] == nearest(quote / volume)


def test_bars_without_volume_have_no_vwap() -> None:
    """Nothing is divided by zero."""
    bars = [make_bar(open_time=MIDNIGHT, volume=Decimal(0), quote_volume=Decimal(0))]
    assert values(Indicator.VWAP, bars) == [None]


@pytest.mark.parametrize("indicator", list(Indicator))
@pytest.mark.parametrize("count", [0, 1, SMA_BARS - 1, EMA_BARS])
def test_there_is_a_value_or_none_for_each_bar(indicator: Indicator, count: int) -> None:
    assert len(values(indicator, bars_from(MIDNIGHT, count))) == count


def test_i_goes_through_the_averages() -> None:
    """It does so in a chart; the list has none."""
    watch = Watch(symbols=("BTCUSDT",), interval="1m")
    watch.select(0)
    seen = []
    for _ in range(5):
        assert obey(watch, "i") is Effect.NOTHING
        seen.append(watch.indicator)
    assert seen == [Indicator.SMA, Indicator.EMA, Indicator.VWAP, Indicator.NONE, Indicator.SMA]
    watch.list_symbols()
    obey(watch, "i")
    assert watch.indicator is Indicator.SMA


def test_average_is_dotted_at_its_price_and_named_in_the_title() -> None:
    """Closes of 5 and 15 in turn, between 0 and 19: the mean is 10, and drawn from the twentieth bar on."""
    watch = Watch(symbols=("BTCUSDT",), interval="1m", indicator=Indicator.SMA)
    watch.select(0)
    watch.message_received(0)
    for number in range(21):
        prices = {"open": 10, "high": 19, "low": 0, "close": 5 if number % 2 else 15}
        opened = MIDNIGHT + timedelta(minutes=number)
        watch.take(make_bar(open_time=opened, **{name: Decimal(price) for name, price in prices.items()}))
    lines = [line.plain for line in draw(watch, 100, 17, now=0, zone=UTC)]
    assert "SMA 20 10" in lines[1]
    dotted = [(row, column) for row, line in enumerate(lines) for column, cell in enumerate(line) if cell == "•"]
    # Ten lines of candles from line 2 on, 20 half rows: 19 is the first one, and 10 the tenth, in the fifth line.
    assert dotted == [(6, 2 * 19 + 1), (6, 2 * 20 + 1)]


def test_title_says_when_there_are_too_few_bars() -> None:
    watch = Watch(symbols=("BTCUSDT",), interval="1m", indicator=Indicator.EMA)
    watch.select(0)
    watch.take(make_bar())
    assert "EMA 50 too few bars" in draw(watch, 100, 17, now=0, zone=UTC)[1].plain
