"""Settings that are read again while the daemon runs: symbols come and go, all else waits for a restart."""

import random
from collections.abc import Callable, Collection
from typing import Final, Protocol

import attrs
import structlog
import trio

from candled.backfill import backfill_new
from candled.domain.bar import Bar
from candled.domain.event import BarEvent
from candled.errors import UserError
from candled.feed.interface import ExchangeDescription, SourceUnavailableError, TradeSource
from candled.feed.introduction import introduce
from candled.pipeline import Pipeline
from candled.settings import DaemonSettings
from candled.stream.hub import Hub

AT_ONCE: Final = frozenset({"symbols", "shards"})
"""Settings that take effect without a restart."""
STORED_SECONDS: Final = 0.05
"""Between looks at how far the history is."""
_log = structlog.get_logger(__name__)


class History(Protocol):
    """What is needed of it."""

    @property
    def stored_position(self) -> int:
        """Every event up to this position is stored, and every query sees it."""

    async def symbols(self) -> list[str]:
        """Every symbol that has a stored bar."""

    async def bars(self, symbol: str, interval: str, start: int, end: int, limit: int) -> list[Bar]:
        """Stored bars with ``start <= open_time < end``, oldest first."""


def waiting_for_restart(old: DaemonSettings, new: DaemonSettings) -> list[str]:
    """Names of settings that changed and take effect with the next start only."""
    return [
        field.name
        for field in attrs.fields(DaemonSettings)
        if field.name not in AT_ONCE and getattr(old, field.name) != getattr(new, field.name)
    ]


class Reloader:
    """Reads the settings again when asked to, and makes of them what can be made while running."""

    def __init__(
        self,
        settings: DaemonSettings,
        reread: Callable[[], DaemonSettings],
        *,
        pipeline: Pipeline,
        source: TradeSource,
        history: History,
        hub: Hub,
        closed: trio.MemorySendChannel[list[BarEvent]],
        next_position: Callable[[], int],
        show_shards: Callable[[DaemonSettings], None],
        rng: random.Random,
    ) -> None:
        """Make it; ``run`` does the work.

        Args:
            settings: those in force.
            reread: gives them as they are now; its errors are told, and the old ones stay.
            pipeline: where symbols are added and removed.
            source: describes added symbols.
            history: what is stored of them.
            hub: ends the streams of removed ones.
            closed: takes backfilled bars to the history.
            next_position: numbers them.
            show_shards: told of new settings, for what is said of symbols served elsewhere.
            rng: jitter.
        """
        self._settings = settings
        self._reread = reread
        self._pipeline = pipeline
        self._source = source
        self._history = history
        self._hub = hub
        self._closed = closed
        self._next_position = next_position
        self._show_shards = show_shards
        self._rng = rng

    async def run(self, requests: trio.MemoryReceiveChannel[None]) -> None:
        """Read the settings again for each request, until there are no more senders."""
        async for _ in requests:
            try:
                await self._reload()
            except UserError as error:
                _log.error("settings not taken, the old ones stay", reason=str(error))

    async def _reload(self) -> None:
        new = self._reread()
        served = self._pipeline.engine.symbols
        added = [symbol for symbol in new.symbols if symbol not in served]
        removed = [symbol for symbol in served if symbol not in new.symbols]
        description = await introduce(self._source, added, self._rng, _note_waiting) if added else None
        for symbol in removed:
            self._pipeline.remove(symbol)
            self._hub.forget(symbol)
        if description is not None:
            await self._add(description, new)
        self._show_shards(new)
        later = waiting_for_restart(self._settings, new)
        if later:
            _log.warning("changed settings wait for a restart", settings=later)
        # What waits for a restart stays as it is in force, so that it is named again as long as it waits.
        self._settings = attrs.evolve(self._settings, **{name: getattr(new, name) for name in AT_ONCE})
        _log.info("settings read again", added=added, removed=removed, symbols=list(new.symbols))

    async def _add(self, description: ExchangeDescription, settings: DaemonSettings) -> None:
        keeper = _Keeper(self._history, self._closed)
        stored = await self._history.symbols()
        new = [symbol for symbol in description.instruments if symbol not in stored]
        if settings.backfill_hours > 0 and new:
            await backfill_new(new, settings.backfill_hours, self._source, keeper, self._next_position)
        # A symbol that was served before goes on from its last bar, which may be on its way to the disk.
        until = max(self._hub.position, keeper.position)
        while self._history.stored_position < until:  # noqa: ASYNC110 - threads of the history move it
            await trio.sleep(STORED_SECONDS)
        await self._pipeline.add(description)


def _note_waiting(error: SourceUnavailableError, delay: float) -> None:
    _log.warning("added symbols wait for the exchange", reason=str(error), retry_in_seconds=round(delay, 1))


@attrs.define
class _Keeper:
    """Keeps bars by the way that all others take, so that what is stored stays in order of position."""

    history: History
    closed: trio.MemorySendChannel[list[BarEvent]]
    position: int = 0

    async def bars(self, symbol: str, interval: str, start: int, end: int, limit: int) -> list[Bar]:
        return await self.history.bars(symbol, interval, start, end, limit)

    async def store(self, events: Collection[BarEvent]) -> None:
        await self.closed.send(list(events))
        self.position = max(event.position for event in events)
