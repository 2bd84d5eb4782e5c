"""Runs Trio so that a seed decides everything, whatever the machine and the process.

The clock is a mock one, and the scheduler shuffles by the seed. Trio's switch for this is private
(``trio._core._run``), and so is the clock by which httpcore lets idle connections go; the versions are pinned, and
this is the one place that uses them. Rubbish is collected at set times only: it may hold generators, and closing
those is work for the scheduler.
"""

import gc
import random
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Final, TypeVar
from unittest import mock

import httpcore._async.http11 as http11
import trio
import trio._core._run as trio_run
from trio.testing import MockClock

T = TypeVar("T")
COLLECT_SECONDS: Final = 120.0


def run_deterministically(function: Callable[..., Awaitable[T]], *args: object, seed: int) -> T:
    """Like ``trio.run``, on a clock that jumps to the next deadline whenever nothing else is to be done."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", new=True))
        stack.enter_context(mock.patch.object(trio_run, "_r", random.Random(seed)))
        stack.enter_context(mock.patch.object(http11, "time", SimpleNamespace(monotonic=trio.current_time)))
        gc.collect()
        gc.freeze()  # what was there before the day is not looked at again in each collection
        stack.callback(gc.unfreeze)
        if gc.isenabled():
            gc.disable()
            stack.callback(gc.enable)
        return trio.run(_with_collections, function, *args, clock=MockClock(autojump_threshold=0))


async def _with_collections(function: Callable[..., Awaitable[T]], *args: object) -> T:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_collect)
        result = await function(*args)
        nursery.cancel_scope.cancel()
    return result


async def _collect() -> None:
    while True:
        await trio.sleep(COLLECT_SECONDS)
        gc.collect()
