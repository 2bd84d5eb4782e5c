"""Reload of the settings while the daemon runs: symbols are added and removed, the rest waits for a restart."""

import random
from collections.abc import Callable
from typing import Final, Protocol

import attrs
import structlog
import trio

from candled.backfill.from_exchange import backfill_new
from candled.config.settings import DaemonSettings
from candled.daemon.pipeline import Pipeline
from candled.daemon.queued_writer import QueuedWriter
from candled.domain.event import BarEvent
from candled.domain.storage import BarReader
from candled.errors import UserError
from candled.feed.adapter import ExchangeDescription, TradeSource
from candled.feed.errors import SourceUnavailableError
from candled.feed.instruments import fetch_exchange_info, keep_unlisted

RELOADABLE: Final = frozenset({"symbols", "shards"})
"""Settings that take effect without a restart."""
STORED_SECONDS: Final = 0.05
"""Between two looks at the stored position."""
_log = structlog.get_logger(__name__)


class Published(Protocol):
    """Where bars are published: the hub, or the bus of an ingester."""

    @property
    def position(self) -> int:
        """Position of the newest closed bar published or stored."""

    def forget(self, symbol: str) -> None:
        """Stop publishing a symbol."""


def waiting_for_restart(old: DaemonSettings, new: DaemonSettings) -> list[str]:
    """Return the names of changed settings that take effect at the next start only."""
    return [
        field.name
        for field in attrs.fields(DaemonSettings)
        if field.name not in RELOADABLE and getattr(old, field.name) != getattr(new, field.name)
    ]


class Reloader:
    """Reads the settings again on request and applies what can change while running."""

    def __init__(
        self,
        settings: DaemonSettings,
        reread: Callable[[], DaemonSettings],
        *,
        pipeline: Pipeline,
        source: TradeSource,
        history: BarReader,
        hub: Published,
        closed: trio.MemorySendChannel[list[BarEvent]],
        next_position: Callable[[], int],
        show_shards: Callable[[DaemonSettings], None],
        rng: random.Random,
    ) -> None:
        """Prepare reloads; ``run`` does the work.

        Args:
            settings: those in effect.
            reread: reads them again; its errors are logged, and the present settings stay.
            pipeline: where symbols are added and removed.
            source: the exchange's REST side, for added symbols.
            history: the stored bars of added symbols.
            hub: ends the streams of removed symbols.
            closed: takes backfilled bars to the writer.
            next_position: numbers backfilled bars.
            show_shards: called with the new settings, for the map of symbols that other shards serve.
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
        """Reload for each request, until there are no more senders."""
        async for _ in requests:
            try:
                await self._reload()
            except UserError as error:
                _log.error("reload rejected; keeping current settings", reason=str(error))

    async def _reload(self) -> None:
        new = self._reread()
        served = self._pipeline.engine.symbols
        added = [symbol for symbol in new.symbols if symbol not in served]
        removed = [symbol for symbol in served if symbol not in new.symbols]
        description = None
        if added:
            described = await fetch_exchange_info(self._source, added, self._rng, _note_waiting)
            description = keep_unlisted(described, added, await self._history.symbols())
        for symbol in removed:
            await self._pipeline.remove(symbol)
            self._hub.forget(symbol)
        if description is not None:
            await self._add(description, new)
        self._show_shards(new)
        later = waiting_for_restart(self._settings, new)
        if later:
            _log.warning("changed settings take effect at the next start", settings=later)
        # The others stay as they are in effect, so that each reload names them until the restart.
        self._settings = attrs.evolve(self._settings, **{name: getattr(new, name) for name in RELOADABLE})
        _log.info("settings reloaded", added=added, removed=removed, symbols=list(new.symbols))

    async def _add(self, description: ExchangeDescription, settings: DaemonSettings) -> None:
        queue = QueuedWriter(self._closed)
        stored = await self._history.symbols()
        new = [symbol for symbol in description.instruments if symbol not in stored]
        if settings.backfill_hours > 0 and new:
            hours = settings.backfill_hours
            await backfill_new(new, hours, self._source, self._history, queue, self._next_position)
        # A symbol that was served before continues from its last bar, which may be on its way to the disk.
        until = max(self._hub.position, queue.position)
        while self._history.stored_position < until:  # noqa: ASYNC110 - threads of the history move it
            await trio.sleep(STORED_SECONDS)
        await self._pipeline.add(description)


def _note_waiting(error: SourceUnavailableError, delay: float) -> None:
    _log.warning(
        "cannot reach the exchange for added symbols, trying again",
        reason=str(error),
        retry_in_seconds=round(delay, 1),
    )
