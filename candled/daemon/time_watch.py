"""Says who disagrees about the exchange's time, and has its clock read while somebody does."""

from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog

from candled.engine.exchange_time import ExchangeTime
from candled.engine.time_sources import Disagreement, Quarantine

LOG_SECONDS: Final = 60.0
"""Between log lines about disagreements of one kind of source and one reason."""


class TimeWatch:
    """Follows the agreed time from outside the engine."""

    def __init__(self, time: ExchangeTime, read_clock_soon: Callable[[], None]) -> None:
        """Make it; ``look`` does the work.

        Args:
            time: The engine's agreed time.
            read_clock_soon: Has the exchange's clock read at once.
        """
        self._time = time
        self._read_clock_soon = read_clock_soon
        self._logged: dict[Disagreement, float] = {}
        self._unlogged: Counter[Disagreement] = Counter()
        self._moves = 0
        self._log = structlog.get_logger(__name__)

    def look(self, now: float) -> None:
        """Log what changed, and ask for a reading if it would help.

        Args:
            now: The local monotonic clock, seconds.
        """
        for quarantine in self._time.take_new_quarantines():
            self._note(quarantine, now)
        if self._time.moves != self._moves:
            first, self._moves = self._moves == 0, self._time.moves
            self._log.info("agreed on the exchange time" if first else "exchange time moved by agreement")
        if self._time.wants_clock(now):
            self._read_clock_soon()

    def _note(self, quarantine: Quarantine, now: float) -> None:
        reason = quarantine.reason
        self._unlogged[reason] += 1
        if now - self._logged.get(reason, float("-inf")) < LOG_SECONDS:
            return
        self._logged[reason] = now
        self._log.warning(
            "source of time quarantined",
            source=quarantine.source,
            reason=reason.value,
            seconds=round(quarantine.offset / 1_000_000, 3),
            quarantines=self._unlogged.pop(reason),
        )
