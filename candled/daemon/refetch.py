"""Fetch the minutes of damaged files from the exchange again, while everything else is live."""

import random
from collections.abc import Callable
from typing import Protocol

import structlog
import trio

from candled.backfill.from_exchange import Backfill
from candled.domain.interval import MINUTE, ONE_MINUTE
from candled.domain.storage import BarReader, BarWriter
from candled.feed.adapter import TradeSource
from candled.feed.errors import SourceRefusedError, SourceUnavailableError
from candled.history.lost import LostMinutes
from candled.retry import Backoff

_log = structlog.get_logger(__name__)


class LossRecord(BarReader, Protocol):
    """A history that knows which minutes it lost."""

    @property
    def lost(self) -> frozenset[LostMinutes]:
        """Minutes to be fetched again."""

    async def wait_lost(self) -> None:
        """Wait until there are some."""

    async def recovered(self, minutes: LostMinutes) -> None:
        """Take some off the record."""


async def refetch_lost(
    history: LossRecord,
    source: TradeSource,
    writer: BarWriter,
    next_position: Callable[[], int],
    is_listed: Callable[[str], bool],
    rng: random.Random,
) -> None:
    """Fetch lost minutes until cancelled, one range at a time.

    Args:
        history: Knows what is lost, and what is stored of it by now.
        source: The exchange.
        writer: Takes the bars, by the way of all others.
        next_position: Numbers them.
        is_listed: Whether the exchange has a symbol; what it does not have stays recorded.
        rng: Jitter.
    """
    backoff = Backoff(rng)
    given_up: set[LostMinutes] = set()
    while True:
        await history.wait_lost()
        lost = sorted(each for each in history.lost if is_listed(each.symbol) and each not in given_up)
        try:
            for minutes in lost:
                await _refetch(minutes, history, source, writer, next_position)
                await history.recovered(minutes)
                backoff.reset()
        except SourceRefusedError as error:
            given_up.add(minutes)
            _log.error("lost bars are not to be had", symbol=minutes.symbol, reason=str(error))
        except SourceUnavailableError as error:
            _log.warning("lost bars wait for the exchange", reason=str(error))
        await trio.sleep(backoff.next())


async def _refetch(
    minutes: LostMinutes,
    history: BarReader,
    source: TradeSource,
    writer: BarWriter,
    next_position: Callable[[], int],
) -> None:
    symbol, start, end = minutes.symbol, minutes.start, minutes.end
    count = (end - start) // MINUTE
    stored = await history.bars(symbol, ONE_MINUTE.name, start, end, count)
    if len(stored) == count:
        return
    backfill = Backfill(source, history, writer, symbol, next_position)
    await backfill.run(start, end)
    _log.info("lost bars fetched again", symbol=symbol, bars=backfill.stored, unproven=backfill.unproven)
