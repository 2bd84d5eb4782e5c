"""Runs Trio so that a seed decides everything: the clock is a mock one, the scheduler shuffles by the seed.

Trio's switch for this is private (``trio._core._run``); the version is pinned, and this is the one place that uses
it.
"""

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio
import trio._core._run as trio_run
from trio.testing import MockClock

T = TypeVar("T")


def run_deterministically(function: Callable[..., Awaitable[T]], *args: object, seed: int) -> T:
    """Like ``trio.run``, on a clock that jumps to the next deadline whenever nothing else is to be done."""
    before = trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True
    trio_run._r = random.Random(seed)
    try:
        return trio.run(function, *args, clock=MockClock(autojump_threshold=0))
    finally:
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r = before
