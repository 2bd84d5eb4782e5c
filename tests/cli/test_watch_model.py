"""What ``watch`` knows and how far it can be trusted; what is drawn of it."""

import re
from datetime import UTC, timedelta
from decimal import Decimal
from typing import Any

import pytest
from rich.text import Text

from candled.cli.watch.frame import draw
from candled.cli.watch.keys import split_keys
from candled.cli.watch.model import BARS_MAX, Watch
from candled.client import Bar
from tests.cli.fakes import make_bar, minutes

Number = int | str


@pytest.fixture
def watch() -> Watch:
    return Watch(symbols=("BTCUSDT", "ETHUSDT"), interval="1m")


def plain(lines: list[Text]) -> list[str]:
    return [line.plain for line in lines]


def test_bar_replaces_the_one_of_its_open_time(watch: Watch) -> None:
    watch.take(make_bar(close=Decimal(1)))
    watch.take(make_bar(close=Decimal(2)))
    assert [bar.close for bar in watch.bars("BTCUSDT")] == [2]


def test_history_never_replaces_streamed_bars(watch: Watch) -> None:
    watch.take(make_bar(revision=3))
    watch.take_history([make_bar(revision=0)])
    assert [bar.revision for bar in watch.bars("BTCUSDT")] == [3]


def test_bars_are_sorted_by_time(watch: Watch) -> None:
    bars = minutes(5)
    for i in (3, 0, 4, 2, 1):
        watch.take(bars[i])
    assert list(watch.bars("BTCUSDT")) == bars


def test_number_of_bars_is_limited(watch: Watch) -> None:
    for bar in minutes(BARS_MAX + 10):
        watch.take(bar)
    assert len(watch.bars("BTCUSDT")) == BARS_MAX


def test_live_after_a_message(watch: Watch) -> None:
    assert not watch.trust(0).fresh
    watch.message_received(5)
    assert watch.trust(6).fresh


def test_stale_without_heartbeats(watch: Watch) -> None:
    watch.message_received(5)
    assert watch.trust(5 + 15).fresh
    assert watch.trust(5 + 25).text == "STALE: the daemon has been silent for 25 s"


def test_stale_with_reason_after_connection_loss(watch: Watch) -> None:
    watch.message_received(5)
    watch.lost("nothing answers")
    assert watch.trust(8).text == "STALE, 3 s old: nothing answers; reconnecting"
    watch.message_received(9)
    assert watch.trust(9).fresh


def test_not_live_while_history_loads(watch: Watch) -> None:
    watch.message_received(5)
    watch.loading = True
    assert not watch.trust(5).fresh
    watch.loading = False
    assert watch.trust(5).fresh


def test_title_shows_no_truncated_number(watch: Watch) -> None:
    numbers = ["91,234.56", "92,345.67", "90,123.45", "91,000.01"]
    opened, high, low, close = (Decimal(number.replace(",", "")) for number in numbers)
    watch.take(make_bar(open=opened, high=high, low=low, close=close))
    watch.select(0)
    found = []
    for width in range(20, 120):
        title = plain(draw(watch, width, 20, now=0, zone=UTC))[1]
        shown = re.findall(r"[OHL] (\S+)", title)
        assert shown == numbers[: len(shown)]
        found.append(len(shown))
    assert found == sorted(found)
    assert {0, 1, 2, 3} == set(found)


def test_stale_if_a_shown_symbol_is_not_live(watch: Watch) -> None:
    watch.message_received(5)
    watch.troubles = {"ETHUSDT": "ETHUSDT is not live"}
    assert not watch.trust(5).fresh
    watch.select(0)
    assert watch.trust(5).fresh


def test_keys_step_through_the_symbols_and_intervals(watch: Watch) -> None:
    watch.step(1)
    assert watch.shown == ("BTCUSDT",)
    watch.step(1)
    watch.step(1)
    assert watch.shown == ("BTCUSDT",)
    watch.select(7)
    assert watch.shown == ("BTCUSDT",)
    watch.select(None)
    assert list(watch.shown) == ["BTCUSDT", "ETHUSDT"]
    assert watch.other_interval(1)
    assert watch.interval == "3m"
    assert watch.other_interval(-1)
    assert not watch.other_interval(-1)


def test_another_interval_drops_the_bars(watch: Watch) -> None:
    """Bars of the interval shown before are dropped."""
    watch.take(make_bar())
    watch.other_interval(1)
    assert watch.bars("BTCUSDT") == ()


def test_input_is_split_into_keys() -> None:
    assert split_keys("a\x1b[C+\x1b[Dq") == ["a", "right", "+", "left", "q"]


def candle(open_: Number, high: Number, low: Number, close: Number, volume: Number = 1, **values: Any) -> Bar:
    names = ("open", "high", "low", "close", "volume")
    prices = dict(zip(names, map(Decimal, (open_, high, low, close, volume)), strict=True))
    return make_bar(**prices, **values)


def test_candle_has_body_and_wicks_at_its_prices(watch: Watch) -> None:
    watch.select(0)
    watch.message_received(0)
    watch.take(candle(10, 19, 0, 15))
    # 17 lines: status, title, 10 of candles (20 half rows: one for each unit of price), marks, volume, times, keys
    lines = plain(draw(watch, 40, 17, now=0, zone=UTC))
    column = [line[:1] for line in lines]
    candles = column[2:12]
    assert candles == ["│", "│", "█", "█", "█", "│", "│", "│", "│", "│"]


def test_axis_shows_exact_prices(watch: Watch) -> None:
    """The highest, lowest and newest price stand on the axis, all digits included."""
    watch.select(0)
    watch.message_received(0)
    watch.take(candle("0.00000712", "0.00000799", "0.00000700", "0.00000744"))
    text = "\n".join(plain(draw(watch, 60, 20, now=0, zone=UTC)))
    assert all(price in text for price in ("0.00000799", "0.00000700", "0.00000744"))


def test_incomplete_and_revised_bars_are_marked(watch: Watch) -> None:
    watch.select(0)
    watch.message_received(0)
    first, second, third = minutes(3)
    watch.take_history([first, second, third])
    watch.take(make_bar(open_time=first.open_time, complete=False))
    watch.take(make_bar(open_time=second.open_time, revision=1))
    lines = plain(draw(watch, 40, 17, now=0, zone=UTC))
    assert any(line.startswith("? *  ") for line in lines)


def test_smallest_volume_is_visible(watch: Watch) -> None:
    watch.select(0)
    watch.message_received(0)
    tiny = candle(1, 2, 1, 2, volume="0.00000001")
    big = candle(1, 2, 1, 2, volume=1000000, open_time=tiny.open_time + timedelta(minutes=1))
    watch.take_history([tiny, big])
    assert any(line.startswith("▁ █") for line in plain(draw(watch, 40, 17, now=0, zone=UTC)))


@pytest.mark.parametrize(("width", "height"), [(20, 5), (40, 10), (80, 24), (120, 40), (300, 80), (1, 2)])
@pytest.mark.parametrize("count", [0, 1, 7, 300])
def test_screen_fits_every_terminal_size(watch: Watch, width: int, height: int, count: int) -> None:
    watch.take_history(minutes(count))
    lines = draw(watch, width, height, now=0, zone=UTC)
    assert len(lines) == height
    assert max(line.cell_len for line in lines) <= width


def test_flat_candle_is_drawn(watch: Watch) -> None:
    watch.select(0)
    watch.take(candle(5, 5, 5, 5, volume=0))
    assert any(line.startswith(("▀", "▄", "█")) for line in plain(draw(watch, 40, 17, now=0, zone=UTC)))


def test_low_terminal_shows_a_line_per_symbol(watch: Watch) -> None:
    watch.take_history(minutes(5))
    lines = plain(draw(watch, 60, 8, now=0, zone=UTC))
    assert lines[1].startswith("BTCUSDT")
    assert lines[2].startswith("ETHUSDT")
