"""Progress of the backfill at a start, for the log and for readiness."""

from collections.abc import Sequence
from typing import Final

import structlog
import trio

from candled.daemon.lifecycle import Lifecycle

LOG_SECONDS: Final = 10.0
"""Between two lines of the log."""
_log = structlog.get_logger(__name__)


class BackfillProgress:
    """Reports how far a backfill is; enters BACKFILLING when made."""

    def __init__(self, lifecycle: Lifecycle, symbols: Sequence[str], hours: float) -> None:
        """Report a backfill of ``hours`` hours of each of these symbols."""
        self._lifecycle = lifecycle
        self._symbols = symbols
        self._done = dict.fromkeys(symbols, 0)
        self._minutes = round(hours * 60)
        self._next_log = trio.current_time()
        lifecycle.backfill(f"0 of {len(symbols)} new symbols have their bars.")

    def show(self, symbol: str, minutes: int) -> None:
        """Count minutes of a symbol that were fetched; logs at most every ``LOG_SECONDS``."""
        self._done[symbol] += minutes
        number = self._symbols.index(symbol) + 1
        done = min(self._done[symbol], self._minutes)
        self._lifecycle.backfill(
            f"{symbol} ({number} of {len(self._symbols)} new symbols): {done} of {self._minutes} minutes."
        )
        now = trio.current_time()
        if now >= self._next_log:
            self._next_log = now + LOG_SECONDS
            _log.info(
                "backfilling",
                symbol=symbol,
                minutes=done,
                minutes_total=self._minutes,
                number=number,
                symbols_total=len(self._symbols),
            )
