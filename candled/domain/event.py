"""Bar events: what the engine emits, and the stream and the history consume."""

from collections.abc import Callable
from enum import IntEnum
from itertools import count
from typing import Final

import msgspec

from candled.domain.bar import Bar

POSITION_BITS: Final = 32
"""Positions of one opening of a data directory lie below ``1 << 32``; the bits above number the opening."""


class BarEventKind(IntEnum):
    """Why a bar is emitted."""

    UPDATE = 1
    """The forming bar took a trade."""
    CLOSE = 2
    """The bar is closed; emitted once per bar, in order of open time for each symbol."""
    REVISION = 3
    """A closed bar changed, or a withheld one was decided: it replaces what was emitted before."""


UPDATE: Final = BarEventKind.UPDATE
"""For what runs on every trade: a member of an enum is slow to look up."""


class BarEvent(msgspec.Struct, frozen=True, gc=False):
    """One bar and why it is emitted."""

    kind: BarEventKind
    bar: Bar
    exchange_time: int
    """Exchange's time of the trade or of the close that caused it, microseconds since the epoch."""
    position: int = 0
    """Place in the journal's order, rising with each CLOSE and REVISION over the whole life of a data
    directory; 0 for an UPDATE, which is not stored. Resume tokens are made of it."""
    resume_floor: int = 0
    """Lowest position from which a longer bar is still to be emitted, once its minutes are reloaded; 0: none.
    A stream that resumes after this event must resume from that position."""


def positions_of(epoch: int) -> Callable[[], int]:
    """Return a counter of positions for the opening of a data directory with this number."""
    return count((epoch << POSITION_BITS) + 1).__next__
