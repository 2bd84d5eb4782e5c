"""The mouse in ``watch``: reports of the terminal, and what is under a click."""

import io
import os
from datetime import UTC

import pytest

from candled.cli.watch.control import Effect, obey, obey_click
from candled.cli.watch.frame import draw, symbol_at
from candled.cli.watch.keys import Click, Mouse, read_keys, split_keys
from candled.cli.watch.model import View, Watch
from tests.cli.fakes import make_bar


def watching(count: int, view: View) -> Watch:
    watch = Watch(symbols=tuple(f"A{number:03}USDT" for number in range(count)), interval="1m", view=view)
    for symbol in watch.symbols:
        watch.take(make_bar(symbol=symbol))
    return watch


def test_reports_of_the_mouse_are_clicks_and_turns_of_the_wheel() -> None:
    """The left button counts as it is pressed; other buttons and releases are ignored."""
    text = "a\x1b[<0;12;5M\x1b[<0;12;5m\x1b[<64;1;1M\x1b[<65;1;1M\x1b[<2;3;4M\x1b[A"
    assert split_keys(text) == ["a", Click(11, 4), "wheel up", "wheel down", "up"]


async def test_a_report_that_a_read_cuts_is_no_key() -> None:
    """Its digits would choose symbols, and its beginning leave the chart."""
    reading, writing = os.pipe()
    parts = [b"a\x1b[<0;1", b"2;5Mq\x1b[<", b"65;1;1M"]
    os.write(writing, parts.pop(0))
    keys = []
    async for key in read_keys(reading):
        keys.append(key)
        if key in ("a", "q"):
            os.write(writing, parts.pop(0))
        elif key == "wheel down":
            os.close(writing)
    os.close(reading)
    assert keys == ["a", Click(11, 4), "q", "wheel down"]


@pytest.mark.parametrize("height", [3, 6, 10, 24, 50])
@pytest.mark.parametrize("count", [1, 3, 40])
@pytest.mark.parametrize("cursor", [0, 2, 39])
def test_click_in_the_list_finds_the_row_that_is_drawn_there(height: int, count: int, cursor: int) -> None:
    """In each part of a long list."""
    watch = watching(count, View.LIST)
    watch.move_cursor(cursor)
    lines = [line.plain for line in draw(watch, 80, height, now=0, zone=UTC)]
    for number, line in enumerate(lines):
        index = symbol_at(watch, height, number)
        named = next((name for name in watch.symbols if name in line), None)
        assert (None if index is None else watch.symbols[index]) == named


@pytest.mark.parametrize("height", [6, 24, 50])
@pytest.mark.parametrize("count", [1, 3, 40])
def test_click_in_the_charts_finds_the_one_that_is_drawn_there(height: int, count: int) -> None:
    """A chart reaches from its title to the next one's; where there is no room, each symbol has a line."""
    watch = watching(count, View.CHARTS)
    lines = [line.plain for line in draw(watch, 80, height, now=0, zone=UTC)]
    has_panes = any("│" in line for line in lines)
    current: str | None = None
    for number, line in enumerate(lines[:-1]):
        named = next((name for name in watch.symbols if line.startswith(name)), None)
        current = named or (current if has_panes else None)
        index = symbol_at(watch, height, number)
        if not line.startswith("and "):
            assert (None if index is None else watch.symbols[index]) == current
    assert symbol_at(watch, height, height - 1) is None


def test_click_opens_a_chart_and_closes_the_help() -> None:
    """A click beside everything changes nothing."""
    watch = watching(3, View.LIST)
    views = []
    for symbol in (None, 1, None):
        obey_click(watch, symbol)
        views.append((watch.view, watch.shown))
    assert views[0][0] is View.LIST
    assert views[1:] == [(View.CHARTS, ("A001USDT",))] * 2
    watch.open_help()
    obey_click(watch, None)
    assert watch.view.name == "CHARTS"


def test_wheel_moves_the_cursor_of_the_list() -> None:
    """In a chart it does nothing."""
    watch = watching(3, View.LIST)
    obey(watch, "wheel down")
    obey(watch, "wheel down")
    obey(watch, "wheel up")
    assert watch.cursor == 1
    obey(watch, "enter")
    assert obey(watch, "wheel down") is Effect.NOTHING
    assert watch.shown == ("A001USDT",)


def test_mouse_is_left_to_the_terminal_at_the_end() -> None:
    """``m`` leaves it and takes it again; the end leaves it in either case."""
    assert obey(watching(1, View.LIST), "m") is Effect.OTHER_MOUSE
    on, off = "\x1b[?1000h\x1b[?1006h", "\x1b[?1006l\x1b[?1000l"
    output = io.StringIO()
    with Mouse(output).taken():
        assert output.getvalue() == on
    assert output.getvalue() == on + off
    output = io.StringIO()
    mouse = Mouse(output)
    with mouse.taken():
        mouse.toggle()
    assert output.getvalue() == on + off
