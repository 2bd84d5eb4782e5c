"""Reads the exchange's clock over REST: a few times at the start, for its rate, and then at intervals."""

from typing import Final

import structlog
import trio

from candled.domain.feed_event import FeedEvent, ServerTime, ServerTimeUnavailable
from candled.feed.adapter import TradeSource
from candled.feed.errors import SourceRefusedError, SourceUnavailableError

SERVER_TIME_SECONDS: Final = 30.0
"""Between readings of the exchange's clock."""
READINGS_AT_FIRST: Final = 4
FIRST_READINGS_SECONDS: Final = 0.3
"""Between the first readings, so that the clock's rate is soon known; then each pause is twice the last."""
RETRY_SECONDS: Final = 5.0
"""After an answer that failed."""


class ExchangeClockReader:
    """Emits ``ServerTime`` and ``ServerTimeUnavailable`` events."""

    def __init__(self, source: TradeSource) -> None:
        self.first_reading = trio.Event()
        """Set once a reading was emitted."""
        self._source = source
        self._wanted = trio.Event()
        self._log = structlog.get_logger(__name__)

    def read_soon(self) -> None:
        """Read the clock now rather than at the end of the pause: somebody disagrees about the time."""
        self._wanted.set()

    async def run(self, send: trio.MemorySendChannel[FeedEvent]) -> None:
        """Read until cancelled."""
        readings, pause = 0, FIRST_READINGS_SECONDS
        async with send:
            while True:
                self._wanted = trio.Event()
                asked = trio.current_time()
                answers = True
                try:
                    time = await self._source.server_time()
                except (SourceUnavailableError, SourceRefusedError) as error:
                    self._log.debug("cannot read the exchange's clock", reason=str(error))
                    answers = False
                    await send.send(ServerTimeUnavailable())
                else:
                    readings += 1
                    await send.send(ServerTime(time, asked, trio.current_time()))
                    self.first_reading.set()
                    if readings >= READINGS_AT_FIRST:
                        pause = min(2 * pause, SERVER_TIME_SECONDS)
                await trio.sleep(FIRST_READINGS_SECONDS)
                with trio.move_on_after((pause if answers else RETRY_SECONDS) - FIRST_READINGS_SECONDS):
                    await self._wanted.wait()
