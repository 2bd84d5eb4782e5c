"""A watchdog of the event loop: how long it is held, and by what.

Trio runs every task that is ready, a *turn*, then waits for input and deadlines, and so on. While one task
computes, no other runs, no deadline fires and no byte is read. The instrument stamps the beginning of each turn
and measures its length at its end. A thread looks at the stamp and, when a turn passes the bound, captures the
stack of the event loop's thread, once for each turn: a turn that never ends is logged, too. The stack holds names
of files, lines and functions, never the values of variables, which may be a client's tokens.
"""

import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

import structlog
import trio

from candled.telemetry.histogram import Histogram

MEASURED_SECONDS_MIN: Final = 0.001
"""Shorter turns are not counted: there are thousands of them in a second, and they hold nothing up."""
STACK_FRAMES_MAX: Final = 12
"""Innermost frames that the log shows."""
LOG_SECONDS: Final = 60.0
"""Between two stacks in the log; those in between are counted."""
LOOK_LATER_SECONDS: Final = 0.001
"""Added to the moment at which a turn reaches the bound, so that it has passed it."""
_log = structlog.get_logger(__name__)


class LoopWatch(trio.abc.Instrument):
    """Measures turns of the event loop. One thread writes, others only read."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """Measure by ``clock``, in seconds."""
        self.held = Histogram()
        """Turns of at least ``MEASURED_SECONDS_MIN``."""
        self.held_max = 0.0
        """Seconds of the longest turn so far."""
        self._clock = clock
        self._began: float | None = None

    def after_io_wait(self, timeout: float) -> None:
        """Begin a turn."""
        self._began = self._clock()

    def before_io_wait(self, timeout: float) -> None:
        """End the turn and count it."""
        began, self._began = self._began, None
        if began is None:  # the turn in which the watch began
            return
        seconds = self._clock() - began
        if seconds >= MEASURED_SECONDS_MIN:
            self.held.observe(seconds)
            self.held_max = max(self.held_max, seconds)

    def running(self) -> tuple[float, float] | None:
        """Return when the present turn began and how many seconds it has lasted; None while the loop waits."""
        began = self._began
        return None if began is None else (began, self._clock() - began)


class StackReports:
    """Decides which turns are logged: each once, one in ``LOG_SECONDS`` at most. Plain: no clock, no thread."""

    def __init__(self, bound: float) -> None:
        """Report turns that last longer than ``bound`` seconds."""
        self._bound = bound
        self._seen: float | None = None
        self._logged_at: float | None = None
        self._unlogged = 0

    def look(self, running: tuple[float, float] | None) -> int | None:
        """Return None if there is nothing to log, else how many turns since the last report were not logged.

        Args:
            running: when the present turn began and how long it has lasted, in seconds.
        """
        if running is None or running[1] <= self._bound or running[0] == self._seen:
            return None
        began, seconds = running
        self._seen = began
        now = began + seconds
        if self._logged_at is not None and now - self._logged_at < LOG_SECONDS:
            self._unlogged += 1
            return None
        self._logged_at = now
        unlogged, self._unlogged = self._unlogged, 0
        return unlogged


@contextmanager
def open_watchdog(bound: float) -> Iterator[LoopWatch]:
    """Measure the event loop of this thread while inside, and log the stack of what holds it.

    Args:
        bound: seconds that a turn may last before its stack is logged; 0: none is.
    """
    watch = LoopWatch()
    stop = threading.Event()
    trio.lowlevel.add_instrument(watch)
    thread = threading.Thread(
        target=_watch, args=(watch, bound, threading.get_ident(), stop), name="loop-watchdog", daemon=True
    )
    if bound > 0:
        thread.start()
    try:
        yield watch
    finally:
        trio.lowlevel.remove_instrument(watch)
        if bound > 0:
            stop.set()
            thread.join()


def _watch(watch: LoopWatch, bound: float, loop_thread: int, stop: threading.Event) -> None:
    reports = StackReports(bound)
    delay = bound
    while not stop.wait(delay):
        running = watch.running()
        delay = next_look(running, bound)
        unlogged = reports.look(running)
        if unlogged is None or running is None:
            continue
        frame = sys._current_frames().get(loop_thread)  # noqa: SLF001 - public, despite its name
        _log.warning(
            "event loop held",
            seconds=round(running[1], 3),
            bound_seconds=bound,
            frames=format_stack(frame),  # "stack" is structlog's own field, and text
            unlogged=unlogged,
        )


def next_look(running: tuple[float, float] | None, bound: float) -> float:
    """Return in how many seconds to look again: never later than ``bound``, so that no longer turn is missed.

    A turn that is seen before it reaches the bound is looked at again when it does.
    """
    if running is None or running[1] > bound:
        return bound
    return bound - running[1] + LOOK_LATER_SECONDS


def format_stack(frame: FrameType | None) -> list[str]:
    """Return the innermost frames as ``file:line function``, the innermost first."""
    frames = traceback.StackSummary.extract(
        traceback.walk_stack(frame), limit=STACK_FRAMES_MAX, lookup_lines=False, capture_locals=False
    )
    return [f"{each.filename}:{each.lineno} {each.name}" for each in frames]
