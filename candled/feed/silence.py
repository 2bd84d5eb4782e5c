"""How long a symbol may be silent before it is checked (``Pace``, plain), and the check (``SilenceWatch``)."""

from collections.abc import Callable
from typing import Final

import attrs
import structlog
import trio

from candled.domain.bar import NO_TRADE
from candled.domain.feed_event import FeedEvent, LastTradeFound, TradeExists
from candled.domain.limits import ID_JUMP_MAX
from candled.feed.adapter import TradeSource
from candled.feed.counts import FeedCounts
from candled.feed.errors import SourceRefusedError, SourceUnavailableError
from candled.feed.groups import StreamGroup, StreamGroups

PATIENCE_MIN: Final = 5.0
PATIENCE_MAX: Final = 120.0
PATIENCE_PAUSES: Final = 20.0
"""A symbol may be silent for this many times its usual pause, within the bounds above."""
QUIET_MAX: Final = 300.0
"""A market found quiet is checked at doubling times, up to this one."""
WATCH_SECONDS: Final = 1.0
"""Between looks at how long each symbol has been silent."""
STRANGE_MAX: Final = 20
"""Trades in a row, all with ids that are lower or far ahead, after which those ids are believed."""
FRESH_SECONDS: Final = 5.0
"""For this long after its connection was begun or replaced, a silent symbol does not count as dead."""
IN_FLIGHT_SECONDS: Final = 2.0
"""A trade that REST shows may take this long to arrive on a stream that lives."""


@attrs.define(slots=True)
class Pace:
    """When one symbol's trades come. All times are seconds of the local monotonic clock."""

    last_id: int = NO_TRADE
    """Highest trade id that came or is known to exist."""
    _last_arrival: float | None = None
    _usual_pause: float = 1.0
    _checked: float | None = None
    _strange: int = 0
    """Trades in a row whose ids do not follow: a few are wrong, many say that ids were reset."""
    _found_quiet: int = 0
    """Checks since the last arrival that found nothing newer."""

    def saw(self, last_id: int, now: float) -> None:
        """A new trade came."""
        if self._last_arrival is not None:
            pause = now - self._last_arrival
            self._usual_pause += (pause - self._usual_pause) / (20 if pause < self._usual_pause * 5 else 5)
        self._last_arrival = self._checked = now
        self._found_quiet = self._strange = 0
        self.last_id = max(self.last_id, last_id)

    def take(self, trade_id: int, now: float) -> None:
        """A trade came: note it if it is new. An id far ahead, or lower ones, are believed of many in a row."""
        ahead = trade_id - self.last_id
        if self.last_id == NO_TRADE or 0 < ahead <= ID_JUMP_MAX:
            self.saw(trade_id, now)
        elif ahead:
            self._strange += 1
            if self._strange >= STRANGE_MAX:
                self._strange, self.last_id = 0, trade_id

    def is_suspect(self, now: float) -> bool:
        """Whether it has been silent for too long, counting from the last check."""
        if self._checked is None:
            return True  # nothing came yet: what the exchange has already may be missing
        patience = PATIENCE_MIN
        if self._last_arrival is not None:
            patience = min(PATIENCE_MAX, max(PATIENCE_MIN, self._usual_pause * PATIENCE_PAUSES))
        return now - self._checked > min(max(QUIET_MAX, patience), patience * (1 << self._found_quiet))

    def check(self, now: float) -> None:
        """It is being checked: not again for a while."""
        self._checked = now

    def found_quiet(self) -> None:
        """The exchange has no newer trade either."""
        self._found_quiet = min(self._found_quiet + 1, 10)


class SilenceWatch:
    """Checks symbols that are silent for longer than usual: replaces dead streams, leaves quiet markets alone."""

    def __init__(
        self,
        source: TradeSource,
        groups: StreamGroups,
        pace: Callable[[str], Pace],
        counts: FeedCounts,
        *,
        carries: Callable[[str], bool],
        is_listed: Callable[[str], bool],
        on_quiet: Callable[[], None],
    ) -> None:
        """Make it; ``run`` does the work.

        Args:
            source: asked for the newest trade of a silent symbol.
            groups: the streams; the group of a dead one is renewed.
            pace: how often trades of a symbol arrive.
            counts: where dead streams are counted.
            carries: whether a connection carries a symbol's stream now.
            is_listed: whether the exchange has a symbol, as far as is known: others are not asked for.
            on_quiet: called when a symbol is silent and the exchange has no newer trade of it either.
        """
        self._source = source
        self._groups = groups
        self._pace = pace
        self._counts = counts
        self._carries = carries
        self._is_listed = is_listed
        self._on_quiet = on_quiet
        self._log = structlog.get_logger(__name__)

    async def run(self, send: trio.MemorySendChannel[FeedEvent], *ready: trio.Event) -> None:
        """Watch until cancelled.

        At the start all symbols are checked: what was traded before is then known, and fetched, without waiting
        for a trade.

        Args:
            send: the engine's channel.
            ready: waited for at first, for ``WATCH_SECONDS`` at most: the exchange's clock was read, as a finding
                before that says nothing to the engine; every stream is connected, so that what comes next arrives.
        """
        async with send:
            with trio.move_on_after(WATCH_SECONDS):
                for event in ready:
                    await event.wait()
            while True:
                await self._look_at_all(send)
                await trio.sleep(WATCH_SECONDS)

    async def _look_at_all(self, send: trio.MemorySendChannel[FeedEvent]) -> None:
        for group in self._groups.groups:
            for symbol in group.channels:
                if symbol in group.channels:  # it may have been removed since the last check
                    await self._look(symbol, group, send)

    async def _look(self, symbol: str, group: StreamGroup, send: trio.MemorySendChannel[FeedEvent]) -> None:
        pace = self._pace(symbol)
        if not pace.is_suspect(trio.current_time()):
            return
        pace.check(trio.current_time())
        try:
            await self._check(symbol, group, pace, send)
        except (SourceUnavailableError, SourceRefusedError) as error:
            self._log.warning("cannot check a silent symbol", symbol=symbol, reason=str(error))

    async def _check(
        self, symbol: str, group: StreamGroup, pace: Pace, send: trio.MemorySendChannel[FeedEvent]
    ) -> None:
        if not self._is_listed(symbol):
            return
        newest = await self._source.newest(symbol)
        shown = newest.last_id if newest is not None else NO_TRADE
        if newest is None or shown <= pace.last_id:
            if shown == pace.last_id:  # less than is known already says nothing: its REST side lags
                pace.found_quiet()
            self._on_quiet()
            return
        if pace.last_id < 0:  # nothing arrived yet: only what comes after this one can show a dead stream
            pace.last_id = newest.last_id
            await send.send(LastTradeFound(symbol, newest))
            return
        before = pace.last_id
        await trio.sleep(IN_FLIGHT_SECONDS)
        if pace.last_id >= newest.last_id:
            return
        await send.send(TradeExists(symbol, newest.last_id))
        is_settled = trio.current_time() - group.fresh_since > FRESH_SECONDS
        if self._carries(symbol) and pace.last_id == before and is_settled:
            self._counts.stalls += 1
            self._log.warning("stream is dead, replacing it", symbol=symbol, newest_trade_id=newest.last_id)
            group.renew()
