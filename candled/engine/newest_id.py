"""What the exchange stated of its newest trade id, and which minutes that proves. Plain.

A statement holds until a time: no trade before it has a higher id. It counts only while no higher id is known: one
that was out of date when it came, or that a trade has contradicted since, proves nothing.

A statement of a higher id than any that came is believed, so that what is missing is fetched, until a trade of a
lower id that was made after it refutes it.
"""

import attrs

from candled.domain.bar import NO_TRADE
from candled.domain.interval import ONE_MINUTE
from candled.engine.id_watch import ORDER_TOLERANCE


@attrs.frozen(slots=True)
class Raise:
    """Ids that are known to exist by statements alone."""

    id_before: int
    """The highest that was known before."""
    trade_id: int
    """The highest that was stated."""
    at: int
    """When that was, exchange time, microseconds since the epoch."""


class StatedNewestId:
    """The newest statement about one symbol."""

    __slots__ = ("_raise", "_trade_id", "until")

    def __init__(self) -> None:
        self._raise: Raise | None = None
        self._trade_id = NO_TRADE
        self.until = 0
        """No trade before this time has a higher id, microseconds since the epoch."""

    def take(self, trade_id: int, until: int, horizon: int) -> bool:
        """Take a statement; return whether it can prove more than the one before it.

        Args:
            trade_id: The newest id.
            until: No trade before this time has a higher id.
            horizon: Highest id known to exist.
        """
        if trade_id != horizon or until <= self.until:
            return False
        is_same_minute = ONE_MINUTE.floor(until) == ONE_MINUTE.floor(self.until)
        proves_more = trade_id != self._trade_id or not is_same_minute
        self._trade_id, self.until = trade_id, until
        return proves_more

    def note_raise(self, trade_id: int, now: int, horizon: int) -> None:
        """Remember that a statement is all that is known of ids up to this one.

        Args:
            trade_id: The newest id.
            now: Exchange time when it was stated.
            horizon: Highest id known to exist before.
        """
        if trade_id > horizon:
            before = horizon if self._raise is None else self._raise.id_before
            self._raise = Raise(before, trade_id, now)

    def take_refuted(self, trade_id: int, time: int) -> Raise | None:
        """Return what was stated, once, if the trade with the highest id so far says that it cannot be true."""
        raised = self._raise
        if raised is None or (trade_id < raised.trade_id and time <= raised.at + ORDER_TOLERANCE):
            return None
        self._raise = None
        return raised if trade_id < raised.trade_id else None

    def id_after(self, close_time: int, horizon: int) -> int | None:
        """Return the stated id if every trade of a minute that ends at this time has at most that; else None."""
        return self._trade_id if self.until >= close_time and self._trade_id == horizon else None
