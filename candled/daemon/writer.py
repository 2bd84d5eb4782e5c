"""The writer: the task that stores closed bars.

Closed bars come through one bounded channel from the aggregator and from a reload's backfill, in order of
position. While the disk refuses them the channel fills, the aggregator waits, and the feed drops batches that the
repair fetches again: a slow disk costs lateness, never a bar.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import attrs
import structlog
import trio

from candled.domain.event import BarEvent
from candled.domain.status import GapState
from candled.engine.engine import Engine
from candled.history import DurableHistory
from candled.history.unfillable import Unfillable

CLOSED_BATCHES: Final = 20_000
"""Batches of closed bars that may wait for the disk."""
RECORD_SECONDS: Final = 5.0
"""Between looks at which gaps became unfillable."""
LOGGED_AT_ONCE: Final = 10
"""Lines of one look; each says how many ranges there were."""

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_writer(
    history: DurableHistory, stored: Callable[[int], None]
) -> AsyncIterator[trio.MemorySendChannel[list[BarEvent]]]:
    """Yield a channel whose closed bars are stored; on leaving, everything that was sent is stored first.

    Args:
        history: where bars are stored.
        stored: called with the position up to which everything is durable, each time that it rises.
    """
    send, receive = trio.open_memory_channel[list[BarEvent]](CLOSED_BATCHES)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(history.serve, stored=stored), receive)
        async with send:
            yield send


async def record_unfillable(history: DurableHistory, engine: Engine) -> None:
    """Store and log, until cancelled, which trade ids prove nothing, so that ``verify`` can say why."""
    logged = frozenset[Unfillable]()
    while True:
        await trio.sleep(RECORD_SECONDS)
        unfillable = [
            Unfillable(symbol.symbol, gap.first_id, gap.last_id, gap.reason, gap.is_disputed)
            for symbol in engine.statistics().symbols
            for gap in symbol.gaps
            if gap.state is GapState.UNFILLABLE
        ]
        _log_new([each for each in unfillable if each not in logged])
        logged = frozenset(unfillable)
        await history.record_unfillable(unfillable)


def _log_new(unfillable: Sequence[Unfillable]) -> None:
    """Log trade ids that bars can no longer be proven by, each with its reason; of many, the first few."""
    for each in unfillable[:LOGGED_AT_ONCE]:
        _log.warning("trade ids prove nothing", **attrs.asdict(each), ranges=len(unfillable))
