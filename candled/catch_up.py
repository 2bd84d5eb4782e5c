"""Tells in the log how far a catch-up is, after an absence or an outage."""

from collections.abc import Callable, Mapping
from typing import Final

import structlog
import trio

LOOK_SECONDS: Final = 10.0
MINUTES_MIN: Final = 5
"""Fewer minutes without a bar are everyday: the last few wait for a trade or for the exchange's klines."""


class CatchUp:
    """Decides when there is something to tell. Plain: no clock, no log."""

    def __init__(self) -> None:
        self._told = 0

    def look(self, minutes_left: Mapping[str, int]) -> tuple[int, int, str] | None:
        """Minutes left, of how many symbols, and the one with most; all 0 at the end; None if nothing is new.

        ``minutes_left``: minutes that have ended and have no bar, by symbol.
        """
        behind = {symbol: minutes for symbol, minutes in minutes_left.items() if minutes >= MINUTES_MIN}
        left = sum(behind.values())
        if left == self._told:
            return None
        self._told = left
        return left, len(behind), max(behind, key=behind.__getitem__, default="")


async def tell_catch_up(minutes_left: Callable[[], Mapping[str, int]]) -> None:
    """Log, until cancelled, how many minutes are left whenever that has changed."""
    log = structlog.get_logger(__name__)
    catch_up = CatchUp()
    while True:
        await trio.sleep(LOOK_SECONDS)
        found = catch_up.look(minutes_left())
        if found is None:
            continue
        left, symbols, most = found
        if left:
            log.info("catching up", minutes_left=left, symbols=symbols, most_behind=most)
        else:
            log.info("caught up")
