"""The minutes of one symbol that are in memory, in order of time, and what is known of those before them."""

from bisect import bisect_left, insort
from collections.abc import Sequence

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.interval import MINUTE
from candled.domain.trade import Trade
from candled.engine.coverage import Around
from candled.engine.minute import Minute


class Window:
    """Minutes by open time. Some have trade ids, others are empty or not rebuilt yet."""

    __slots__ = (
        "_begins",
        "_close_before",
        "_closed_with",
        "_id_before",
        "_known_before",
        "_minutes",
        "_order",
        "_traded",
    )

    def __init__(self) -> None:
        self._minutes: dict[int, Minute] = {}
        self._order: list[int] = []
        """Open times of ``_minutes``, sorted."""
        self._traded: list[int] = []
        """Those of them that have trade ids: silent hours must not slow down every look."""
        self._id_before = NO_TRADE
        """Highest id known before ``_begins``."""
        self._begins = 0
        """End of the newest minute that has left. Older ones may come back: what was before them is only
        known from ``_known_before``."""
        self._known_before: list[tuple[int, int]] = []
        """Open times, rising, and an id known before each, where that is of minutes that are not in memory."""
        self._close_before: int | None = None
        """The newest close known before ``_begins``."""
        self._closed_with = NO_TRADE
        """Id of the trade that it is the price of, or of one after it that is known to be none."""

    def __contains__(self, open_time: int) -> bool:
        return open_time in self._minutes

    def __getitem__(self, open_time: int) -> Minute:
        return self._minutes[open_time]

    def __len__(self) -> int:
        return len(self._order)

    def get(self, open_time: int) -> Minute | None:
        """The minute, if it is in memory."""
        return self._minutes.get(open_time)

    def times(self, start: int, end: int | None = None) -> Sequence[int]:
        """Open times from ``start`` on, up to, not including, ``end``."""
        begin = bisect_left(self._order, start)
        return self._order[begin:] if end is None else self._order[begin : bisect_left(self._order, end)]

    # -- what is known before them ------------------------------------------------------------------------------

    @property
    def begins_nowhere(self) -> bool:
        """Whether no trade before them is known."""
        return self._id_before == NO_TRADE

    def begin_after(self, trade_id: int, close: int | None) -> None:
        """The last trade before them, and the price then, if that is known."""
        self._id_before = self._closed_with = trade_id
        self._close_before = close

    def saw_before(self, trade: Trade) -> None:
        """A trade of before them."""
        if trade.last_id > self._id_before:
            self.begin_after(trade.last_id, trade.price)

    def knows_before(self, open_time: int, trade_id: int) -> None:
        """This id came before this minute, in minutes that need not be in memory."""
        insort(self._known_before, (open_time, trade_id))

    # -- they come and go ---------------------------------------------------------------------------------------

    def insert(self, minute: Minute) -> Minute:
        """Remember a minute that is not there yet."""
        self._minutes[minute.open_time] = minute
        insort(self._order, minute.open_time)
        return minute

    def resume(self, minute: Minute, bar: Bar) -> None:
        """One of them takes over the sums of its bar."""
        minute.resume(bar)
        if bar.last_trade_id != NO_TRADE:
            insort(self._traded, bar.open_time)

    def first_trade(self, minute: Minute) -> None:
        """One of them, which has no trade ids yet, is about to get some."""
        insort(self._traded, minute.open_time)

    def ids_from(self, start: int) -> tuple[int, int] | None:
        """Lowest and highest trade id of the minutes from ``start`` on; None if they have none."""
        minutes = [self._minutes[open_time] for open_time in self._traded[bisect_left(self._traded, start) :]]
        if not minutes:
            return None
        return min(minute.first_id for minute in minutes), max(minute.last_id for minute in minutes)

    def clear(self, first_id: int, last_id: int) -> tuple[int, int, list[int]]:
        """Forget the trades of every minute that has ids in this range.

        Where times and ids interleave, ids of one minute lie among those of another: all of these minutes are
        cleared, as their trades would be counted twice otherwise.

        Returns:
            The range, widened to all ids of the minutes cleared, and their open times.
        """
        cleared: list[int] = []
        while overlapping := [
            open_time
            for open_time in self._traded
            if self._minutes[open_time].first_id <= last_id and self._minutes[open_time].last_id >= first_id
        ]:
            for open_time in overlapping:
                minute = self._minutes[open_time]
                first_id, last_id = min(first_id, minute.first_id), max(last_id, minute.last_id)
                minute.clear()
            self._traded = [open_time for open_time in self._traded if open_time not in overlapping]
            cleared += overlapping
        return first_id, last_id, cleared

    def beyond(self, open_time: int, first_id: int, last_id: int) -> list[int]:
        """Open times of other minutes whose ids put these ids before or after them, against the order of time."""
        index = bisect_left(self._traded, open_time)
        earlier = self._traded[:index]
        later = self._traded[index + 1 if self._traded[index : index + 1] == [open_time] else index :]
        found = [time for time in earlier if self._minutes[time].last_id >= first_id]
        return found + [time for time in later if self._minutes[time].first_id <= last_id]

    @property
    def oldest(self) -> int | None:
        """Open time of the oldest."""
        return self._order[0] if self._order else None

    @property
    def second_oldest(self) -> int | None:
        """Open time of the one after the oldest."""
        return self._order[1] if len(self._order) > 1 else None

    def drop_oldest(self) -> None:
        """Forget the oldest, but for its last id and, if it is the newest of those that have left, its close."""
        open_time = self._order.pop(0)
        minute = self._minutes.pop(open_time)
        if self._traded and self._traded[0] == open_time:
            del self._traded[0]
        known = self._id_before
        while self._known_before and self._known_before[0][0] <= open_time:
            known = max(known, self._known_before.pop(0)[1])
        self._id_before = max(known, minute.last_id)
        if open_time < self._begins:
            return
        self._begins = minute.close_time
        if minute.last_id != NO_TRADE:
            self._closed_with, self._close_before = minute.last_id, minute.last_price
        elif minute.is_price_known:
            self._closed_with, self._close_before = minute.previous_id, minute.last_price

    # -- what lies around a minute ------------------------------------------------------------------------------

    def around(self, open_time: int) -> Around:
        """What is known around this minute."""
        return Around(self.id_before(open_time), self.id_after(open_time), self.close_before(open_time))

    def ids_around(self, open_time: int) -> Around:
        """The same but for the price, which takes longer."""
        return Around(self.id_before(open_time), self.id_after(open_time), None)

    def id_before(self, open_time: int) -> int:
        """The highest id known before this minute."""
        index = bisect_left(self._traded, open_time)
        known = self._minutes[self._traded[index - 1]].last_id if index else NO_TRADE
        if open_time >= self._begins:
            known = max(known, self._id_before)
        if self._known_before:
            index = bisect_left(self._known_before, (open_time + 1,))
            known = max(known, self._known_before[index - 1][1]) if index else known
        return known

    def id_after(self, open_time: int) -> int | None:
        """The lowest id known after this minute, if there is one."""
        index = bisect_left(self._traded, open_time + MINUTE)
        return self._minutes[self._traded[index]].first_id if index < len(self._traded) else None

    def begun_before(self, trade_id: int) -> int | None:
        """Open time of the newest minute whose first known trade is before this one."""
        index = bisect_left(self._traded, trade_id, key=lambda open_time: self._minutes[open_time].first_id)
        return self._traded[index - 1] if index else None

    def close_before(self, open_time: int) -> int | None:
        """The price before this minute, if it is known: not where a trade before it is in no minute in memory."""
        index = bisect_left(self._order, open_time)
        before = self._minutes[self._order[index - 1]] if index else None
        if before is not None and before.close_time == open_time and before.last_id != NO_TRADE:
            return before.last_price
        last_id, close = self._closed_with, self._close_before
        if before is not None and (before.open_time >= self._begins or before.close_time == open_time):
            traded = bisect_left(self._traded, open_time)
            last = self._minutes[self._traded[traded - 1]] if traded else before
            if before.is_price_known and before.previous_id >= last.last_id:
                last_id, close = before.previous_id, before.last_price
            elif last.open_time >= self._begins and last.last_id != NO_TRADE:
                last_id, close = last.last_id, last.last_price
        elif open_time < self._begins:
            return None
        return close if last_id >= self.id_before(open_time) else None
