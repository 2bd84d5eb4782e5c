"""What the engine says of bars, and what the stream and the history hear."""

from collections.abc import Callable
from enum import IntEnum
from itertools import count
from typing import Final

import msgspec

from candled.domain.bar import Bar

POSITION_BITS: Final = 32
"""Positions of one opening of a data directory lie below ``1 << 32``; the number of the opening stands above."""


class BarEventKind(IntEnum):
    """Why a bar is told."""

    UPDATE = 1
    """The forming bar took a trade."""
    CLOSE = 2
    """The bar is closed; told once for each bar, in order of open time for each symbol."""
    REVISION = 3
    """A closed bar changed, or a withheld one was decided: it replaces what was told before."""


class BarEvent(msgspec.Struct, frozen=True, gc=False):
    """One bar and why it is told."""

    kind: BarEventKind
    bar: Bar
    exchange_time: int
    """Exchange's time of the trade or of the close that caused it, microseconds since the epoch."""
    position: int = 0
    """Place in the journal's order, rising with each CLOSE and REVISION over the whole life of a data
    directory; 0 for an UPDATE, which is not stored. Resume tokens are made of it."""
    owed_from: int = 0
    """Lowest position of which a longer bar is still to be told, once its minutes were read back; 0: of none.
    Whoever goes on from here after a break must be told from there on again."""


def positions_of(epoch: int) -> Callable[[], int]:
    """Numbers the closed bars told during one opening of a data directory, the one with this number."""
    return count((epoch << POSITION_BITS) + 1).__next__
