"""The list of ``watch``: the sums of a day, the keys that move in it, and its rows at any width."""

import re
from collections.abc import Sequence
from datetime import UTC, timedelta
from decimal import Decimal
from typing import Any

import pytest

from candled.cli.watch.control import HELP, Effect, obey
from candled.cli.watch.day import Day, DaySummary
from candled.cli.watch.frame import draw
from candled.cli.watch.keys import split_keys
from candled.cli.watch.model import View, Watch
from candled.client import Bar
from tests.cli.fakes import OPEN_TIME, make_bar

STEP = timedelta(minutes=5)


def step_bar(place: int, **values: Any) -> Bar:
    """The 5-minute bar at this place after the first."""
    open_time = OPEN_TIME + place * STEP
    return make_bar(interval="5m", open_time=open_time, close_time=open_time + STEP, **values)


def values(numbers: tuple[int, int, int, int, int]) -> dict[str, Decimal]:
    """Open, high, low, close and volume of a bar."""
    return dict(zip(("open", "high", "low", "close", "volume"), map(Decimal, numbers), strict=True))


def summed(bars: Sequence[Bar], symbol: str = "BTCUSDT") -> DaySummary:
    day = Day()
    for bar in bars:
        day.take(bar)
    found = day.summary(symbol)
    assert found is not None
    return found


@pytest.fixture
def watch() -> Watch:
    found = Watch(symbols=("BTCUSDT", "ETHUSDT", "PEPEUSDT"), interval="1m")
    found.list_symbols()
    found.message_received(0)
    found.day.loading = False
    return found


def screen(watch: Watch, width: int = 100, height: int = 20) -> list[str]:
    return [line.plain for line in draw(watch, width, height, now=0, zone=UTC)]


def test_day_sums_its_bars() -> None:
    """High and low are the extremes, volumes are added, the change is from the first price to the last."""
    first, last = (100, 120, 99, 110, 1), (110, 111, 80, 90, 2)
    found = summed([step_bar(place, **values(bar)) for place, bar in enumerate((first, last))])
    assert [found.last, found.high, found.low, found.volume] == [90, 120, 80, 3]
    assert found.change_percent == -10
    assert found.span == 2 * STEP


def test_forming_bar_is_summed_once() -> None:
    """A bar that changes on every trade counts as it is now."""
    bars = [step_bar(0, volume=Decimal(5)), *(step_bar(1, volume=Decimal(n)) for n in (1, 2, 3))]
    assert summed(bars).volume == 8


def test_revision_of_a_past_bar_counts() -> None:
    """A revised bar replaces the values that were summed before."""
    day = Day()
    for bar in (step_bar(0, volume=Decimal(5)), step_bar(1, volume=Decimal(1))):
        day.take(bar)
    before = day.summary("BTCUSDT")
    day.take(step_bar(0, volume=Decimal(7), revision=1))
    after = day.summary("BTCUSDT")
    assert before is not None
    assert after is not None
    assert [before.volume, after.volume] == [6, 8]


def test_bars_leave_the_window_after_a_day() -> None:
    """288 bars of 5 minutes are a day, the forming one included."""
    bars = [step_bar(place, volume=Decimal(1)) for place in range(300)]
    found = summed(bars)
    assert found.volume == 288
    assert found.span == timedelta(hours=24)


def test_symbol_without_trades_keeps_its_price() -> None:
    """A symbol whose newest bar is older than a day has its last price, and no more than that bar."""
    old = [step_bar(0), step_bar(1, close=Decimal(107))]
    others = [step_bar(place, symbol="ETHUSDT") for place in (2, 900)]
    found = summed([*old, *others])
    assert found.last == 107
    assert found.span == STEP


def test_bars_without_trades_have_no_extremes() -> None:
    """A bar in which nothing was traded stands at the price before: that is no price of the window."""
    quiet = step_bar(0, trade_count=0, high=Decimal(500), low=Decimal(500))
    found = summed([quiet, step_bar(1)])
    assert [found.high, found.low] == [110, 90]


def test_direction_is_that_of_the_last_change() -> None:
    """The colour of a price says whether it went up or down, as long as it stands still, too."""
    closes = [Decimal(n) for n in (100, 101, 101)]
    assert summed([step_bar(0, close=close) for close in closes]).rising is True
    assert summed([step_bar(0)]).rising is None


def test_list_has_a_row_for_each_symbol(watch: Watch) -> None:
    """Last price, change, high, low and volumes, exact in price and short in volume."""
    first = step_bar(0, open=Decimal(100), close=Decimal("100.5"), volume=Decimal(1500))
    watch.day.take(first)
    lines = screen(watch)
    assert lines[1].split() == ["symbol", "last", "24", "h", "high", "low", "volume", "quote", "volume"]
    assert lines[2].split() == ["▸BTCUSDT", "100.5", "+0.50%/5m", "110.0", "90.0", "1.5k", "2.000"]
    assert lines[3].split() == ["ETHUSDT", "no", "bar", "yet"]


def test_change_of_a_whole_day_stands_alone(watch: Watch) -> None:
    """What a change covers is said only where it is less than a day."""
    for place in range(288):
        watch.day.take(step_bar(place, open=Decimal(100), close=Decimal(99)))
    assert "-1.00% " in screen(watch)[2]


@pytest.mark.parametrize("width", [1, 20, 40, 60, 80, 200])
def test_rows_fit_any_width(watch: Watch, width: int) -> None:
    """Columns are left out, and no number is cut as long as symbol and price fit."""
    for symbol in watch.symbols:
        watch.day.take(step_bar(0, symbol=symbol, high=Decimal("91234.56")))
    lines = screen(watch, width)
    assert len(lines) == 20
    assert max(map(len, lines)) <= width
    if width >= 20:
        assert re.search(r"BTCUSDT +105\.50?\b", lines[2])


def test_long_lists_are_shown_in_parts(watch: Watch) -> None:
    """The part with the cursor is shown, and the foot says which it is."""
    watch.symbols = tuple(f"S{n:03}" for n in range(100))
    for _ in range(30):
        obey(watch, "down")
    lines = screen(watch, 80, 20)
    assert "▸S030" in "\n".join(lines)
    assert lines[18] == " 17 to 32 of 100"


def test_symbol_that_is_not_live_is_marked(watch: Watch) -> None:
    """One symbol without its stream does not make the list stale; all of them do."""
    watch.troubles = {"ETHUSDT": "ETHUSDT is not live"}
    lines = screen(watch)
    assert lines[0] == "candled 24 h  ● live, 1 of 3 symbols not live"
    assert lines[3].startswith(" ETHUSDT!")
    watch.troubles = dict.fromkeys(watch.symbols, "not live")
    assert screen(watch)[0] == "candled 24 h  ○ STALE: 3 of 3 symbols not live"


def test_list_is_not_live_while_it_loads(watch: Watch) -> None:
    """Sums of a part of the day are not shown as those of the day."""
    watch.day.loading = True
    assert "loading" in screen(watch)[0]


def test_enter_opens_the_chart_and_escape_goes_back(watch: Watch) -> None:
    """The cursor stands on the symbol whose chart was shown, also after a step to another."""
    for key in ("down", "enter"):
        obey(watch, key)
    assert (watch.view, watch.shown) == (View.CHARTS, ("ETHUSDT",))
    for key in ("right", "escape"):
        obey(watch, key)
    assert (watch.view, watch.cursor) == (View.LIST, 2)


def test_l_goes_to_the_list_and_back(watch: Watch) -> None:
    """The key leaves the list for the charts that were there before."""
    obey(watch, "l")
    assert (watch.view, watch.shown) == (View.CHARTS, watch.symbols)
    obey(watch, "l")
    assert watch.view is View.LIST


def test_cursor_stops_at_the_ends(watch: Watch) -> None:
    """The list has a first and a last row."""
    obey(watch, "up")
    assert watch.cursor == 0
    for _ in range(5):
        obey(watch, "j")
    assert watch.cursor == 2


def test_arrows_change_the_interval_in_charts_only(watch: Watch) -> None:
    """In the list they select; only a chart has an interval."""
    assert obey(watch, "up") is Effect.NOTHING
    obey(watch, "a")
    assert obey(watch, "up") is Effect.OTHER_INTERVAL
    assert watch.interval == "3m"


def test_help_covers_a_view_and_gives_it_back(watch: Watch) -> None:
    """While help is shown, keys of the view behind it do nothing; it fits 60 columns by 20 lines."""
    obey(watch, "?")
    lines = screen(watch, 60, 20)
    assert all(any(meaning in line for line in lines) for _, meaning in HELP)
    obey(watch, "down")
    obey(watch, "?")
    assert (watch.view, watch.cursor) == (View.LIST, 0)


def test_q_quits_from_every_view(watch: Watch) -> None:
    """Also from help."""
    effects = []
    for key in ("", "a", "?"):
        obey(watch, key)
        effects.append(obey(watch, "q"))
    assert effects == [Effect.QUIT] * 3


def test_enter_is_a_key_by_its_name() -> None:
    """Terminals send a carriage return or a line feed."""
    assert split_keys("\rj\n") == ["enter", "j", "enter"]
