"""The watchdog measures turns of the event loop and names what holds it."""

import sys
import time

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from candled.telemetry.watchdog import (
    LOG_SECONDS,
    MEASURED_SECONDS_MIN,
    STACK_FRAMES_MAX,
    LoopWatch,
    StackReports,
    format_stack,
    next_look,
    open_watchdog,
)
from tests.memory_daemon import captured_logs


class Clock:
    """A clock that the test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def turn(watch: LoopWatch, clock: Clock, seconds: float) -> None:
    """One turn of the event loop of this duration."""
    watch.after_io_wait(0.0)
    clock.now += seconds
    watch.before_io_wait(0.0)


def test_a_long_turn_is_counted() -> None:
    """A turn's whole length goes to the histogram, and the longest one to the maximum."""
    clock = Clock()
    watch = LoopWatch(clock)
    for seconds in (0.2, 0.03):
        turn(watch, clock, seconds)
    assert watch.held.count == 2
    assert watch.held.sum == pytest.approx(0.23)
    assert watch.held_max == pytest.approx(0.2)


def test_a_short_turn_is_not_counted() -> None:
    """Turns below the minimum cost no histogram."""
    clock = Clock()
    watch = LoopWatch(clock)
    turn(watch, clock, MEASURED_SECONDS_MIN / 2)
    assert (watch.held.count, watch.held_max) == (0, 0.0)


def test_waiting_for_input_is_no_turn() -> None:
    """Time between two turns counts for neither, and the loop is not held meanwhile."""
    clock = Clock()
    watch = LoopWatch(clock)
    turn(watch, clock, 0.002)
    clock.now += 60.0
    assert watch.running() is None
    turn(watch, clock, 0.002)
    assert watch.held_max == pytest.approx(0.002)


def test_a_turn_is_reported_once() -> None:
    """However often the thread looks at a turn beyond the bound, it makes one line."""
    reports = StackReports(bound=0.05)
    assert reports.look((10.0, 0.04)) is None
    assert reports.look((10.0, 0.06)) == 0
    assert reports.look((10.0, 0.09)) is None
    assert reports.look(None) is None


def test_reports_are_limited_in_time() -> None:
    """Turns that follow a reported one within the limit are counted in the next line."""
    reports = StackReports(bound=0.05)
    assert reports.look((10.0, 0.06)) == 0
    for second in (11.0, 12.0, 13.0):
        assert reports.look((second, 0.06)) is None
    assert reports.look((10.0 + LOG_SECONDS, 0.07)) == 3


@given(began=st.floats(0, 10), length=st.floats(0.052, 1.0), offset=st.floats(0, 0.05))
def test_no_turn_beyond_the_bound_is_missed(began: float, length: float, offset: float) -> None:
    """Wherever a turn falls between two looks, one of them sees it after it has passed the bound."""
    bound, now = 0.05, began - offset
    seen = False
    while now < began + length:
        running = (began, now - began) if now >= began else None
        seen = seen or (running is not None and running[1] > bound)
        now += next_look(running, bound)
    assert seen


def test_a_stack_is_limited_and_has_no_values() -> None:
    """The innermost frames come first, with no variable of theirs."""

    def deep(level: int, secret: str) -> list[str]:
        return deep(level - 1, secret) if level else format_stack(sys._getframe())

    stack = deep(STACK_FRAMES_MAX * 2, "Bearer abc")
    assert len(stack) == STACK_FRAMES_MAX
    assert stack[0].endswith(" deep")
    assert "abc" not in "".join(stack)


def hold_the_loop(seconds: float) -> None:
    """The culprit."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


async def test_the_culprit_is_logged_while_it_runs() -> None:
    """A call that holds the real event loop is named by its stack, and its length is exported."""
    with captured_logs() as logs, open_watchdog(0.05) as watch:
        await trio.lowlevel.checkpoint()
        hold_the_loop(0.4)
        logged_before_its_end = list(logs)
        await trio.lowlevel.checkpoint()
    (line,) = [line for line in logged_before_its_end if line["event"] == "event loop held"]
    assert any(frame.endswith(" hold_the_loop") for frame in line["frames"])
    assert line["seconds"] > 0.05
    assert watch.held_max >= 0.4


async def test_without_a_bound_nothing_is_logged() -> None:
    """A bound of 0 measures and never logs."""
    with captured_logs() as logs, open_watchdog(0.0) as watch:
        await trio.lowlevel.checkpoint()
        hold_the_loop(0.12)
        await trio.lowlevel.checkpoint()
    assert logs == []
    assert watch.held_max >= 0.12
