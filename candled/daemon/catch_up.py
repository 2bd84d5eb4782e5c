"""Log the progress of a catch-up after an absence or an outage."""

from collections.abc import Callable, Mapping
from typing import Final

import structlog
import trio

LOOK_SECONDS: Final = 10.0
"""Between two looks at the minutes that are left."""
MINUTES_MIN: Final = 5
"""Fewer minutes without a bar are normal: the newest ones wait for a trade or for a kline."""


class CatchUp:
    """Decides when there is something to log. Plain: no clock, no log."""

    def __init__(self) -> None:
        self._logged = 0

    def look(self, minutes_left: Mapping[str, int]) -> tuple[int, int, str] | None:
        """Return what to log; None if nothing has changed.

        Args:
            minutes_left: minutes that have ended and have no bar, by symbol.

        Returns:
            The minutes left, the number of symbols that have any, and the symbol with the most; zeros and no
            symbol at the end.
        """
        behind = {symbol: minutes for symbol, minutes in minutes_left.items() if minutes >= MINUTES_MIN}
        left = sum(behind.values())
        if left == self._logged:
            return None
        self._logged = left
        return left, len(behind), max(behind, key=behind.__getitem__, default="")


async def log_catch_up(minutes_left: Callable[[], Mapping[str, int]]) -> None:
    """Log, until cancelled, the number of minutes left whenever it has changed.

    Args:
        minutes_left: returns the minutes that have ended and have no bar, by symbol.
    """
    log = structlog.get_logger(__name__)
    catch_up = CatchUp()
    while True:
        await trio.sleep(LOOK_SECONDS)
        found = catch_up.look(minutes_left())
        if found is None:
            continue
        left, symbols, symbol = found
        if left:
            log.info("catching up", minutes_left=left, symbols=symbols, most_behind=symbol)
        else:
            log.info("caught up")
