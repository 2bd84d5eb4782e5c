"""How long the event loop was held: a task that wakes every few milliseconds and notes what ran in between."""

import gc
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import attrs
import trio

_PERIOD: Final = 0.002

HELD_MAX: Final = 0.25
"""Seconds that tests allow: five times what the product promises, since their machines are slow."""
TRACED_FACTOR: Final = 5
"""While coverage is measured, as each line then costs several times what it does."""


@attrs.define
class LoopWatch:
    """What was seen."""

    longest: float = 0.0
    """Seconds of the processor that the loop's thread used between two wakings.

    Not of the clock: on a busy machine that counts how long other processes had the processor.
    """

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            before = time.thread_time()
            await trio.sleep(_PERIOD)
            self.longest = max(self.longest, time.thread_time() - before)


@asynccontextmanager
async def watching_loop() -> AsyncIterator[LoopWatch]:
    """Watch the loop of this test while inside, and see at the end that nothing held it."""
    watch = LoopWatch()
    gc.collect()
    gc.freeze()  # what other tests have left in this process is not this one's to collect
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.run)
            await trio.sleep(_PERIOD)
            yield watch
            await trio.sleep(2 * _PERIOD)  # what was held last is noticed by the next waking
            nursery.cancel_scope.cancel()
    finally:
        gc.unfreeze()
    assert watch.longest < HELD_MAX * (TRACED_FACTOR if _is_traced() else 1)


def _is_traced() -> bool:
    """Whether coverage is measured."""
    coverage = sys.modules.get("coverage")
    return coverage is not None and coverage.Coverage.current() is not None
