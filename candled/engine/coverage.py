"""What one symbol's trades cover: which ids count, and which minutes they prove.

Every trade passes ``Coverage.accept`` before any bar is built of it, so that builders of any kind of bar see each
trade once and only trades that can be counted. State kept: the ids (``continuity``), whether the first id of
concern is still being looked for (``wanted_start``), and the finest decimals of price and quantity, by which
aggregates are judged.

Order of events for a trade: finer decimals are noticed first, since they may make earlier aggregates doubtful
(``on_doubt`` is called before the trade is counted); an aggregate of several fills is declined where it is not
exact; then the ids are seen: all of them, or none.
"""

from typing import TYPE_CHECKING, NamedTuple

from candled.domain.bar import NO_TRADE
from candled.domain.exactness import FinestDecimals
from candled.domain.numbers import ONE
from candled.domain.proof import is_proven
from candled.domain.trade import Trade
from candled.engine.continuity import NEW, Continuity, Sighting
from candled.engine.newest_id import StatedNewestId
from candled.engine.testimony import SLOT, Testimony, two_truths

if TYPE_CHECKING:
    from collections.abc import Callable


class Around(NamedTuple):
    """What is known around one minute."""

    id_before: int
    """Highest id known before it; ``NO_TRADE`` if none is."""
    id_after: int | None
    """Lowest id known after it, if there is one."""
    close_before: int | None
    """The price before it, if it is known."""


def _ignore_doubt(_time: int) -> None:
    """Nothing was built of aggregates."""


class Coverage:
    """The trades of one symbol that are accounted for."""

    __slots__ = (
        "_aggregated_from",
        "_price_unit",
        "_quantity_unit",
        "_stated",
        "continuity",
        "finest",
        "newest_id",
        "on_dispute",
        "on_doubt",
        "testimony",
        "wanted_start",
    )

    def __init__(self) -> None:
        self.continuity = Continuity()
        self.newest_id = StatedNewestId()
        self.wanted_start: int | None = None
        """Open time of the first minute ever, while the trade before it is not known."""
        self.on_doubt: Callable[[int], None] = _ignore_doubt
        """Called with the time of the oldest aggregate that need not sum up like its fills after all."""
        self.on_dispute: Callable[[int], None] = _ignore_doubt
        """Called with each time that is stated of a trade whose values are disputed."""
        self.testimony = Testimony()
        """The values of the newest trades."""
        self._stated = self.testimony.stated
        self.finest = FinestDecimals()
        """By which aggregates are judged."""
        self._price_unit = self._quantity_unit = ONE
        """What every price and every quantity so far is a multiple of."""
        self._aggregated_from: int | None = None
        """Time of the oldest aggregate of several fills that was counted."""

    def accept(self, trade: Trade) -> Sighting:
        """Say whether a trade is to be counted, and count its ids as seen if so."""
        first_id, last_id = trade.first_id, trade.last_id
        if self.wanted_start is not None:
            self.continuity.lower_floor(first_id)
        if trade.price % self._price_unit or trade.quantity % self._quantity_unit:
            self.finest.see(trade.price, trade.quantity)
            self._judge_aggregates()
        if first_id != last_id:
            return self._accept_aggregate(trade)
        sighting = self.continuity.see(first_id, last_id)
        if sighting is NEW:
            self._stated[first_id & SLOT] = trade
        elif sighting is Sighting.DUPLICATE:
            self._compare(trade)
        return sighting

    def _compare(self, trade: Trade) -> None:
        """Dispute a trade that came again if it is stated otherwise now."""
        before = self.testimony.contradicted(trade)
        if before is not None and not self.continuity.is_disputed(trade.first_id, trade.last_id):
            self.continuity.dispute(trade.first_id, trade.last_id, two_truths(before, trade))
            self.on_dispute(before.time)
            self.on_dispute(trade.time)

    def state_decimals(self, price: int, quantity: int) -> None:
        """Take over the decimals of the price tick and the lot step that the exchange states."""
        self.finest.state(price, quantity)
        self._judge_aggregates()

    def take_over(self, finest: FinestDecimals) -> None:
        """Judge aggregates by what is known of the symbol's decimals already."""
        self.finest = finest
        self._price_unit, self._quantity_unit = finest.price_unit, finest.quantity_unit

    def _accept_aggregate(self, trade: Trade) -> Sighting:
        if not self.finest.aggregates_are_exact:
            return self.continuity.decline(trade.first_id, trade.last_id)
        sighting = self.continuity.see(trade.first_id, trade.last_id)
        if sighting is Sighting.NEW:
            self._stated[trade.first_id & SLOT] = trade
            if self._aggregated_from is None or trade.time < self._aggregated_from:
                self._aggregated_from = trade.time
        elif sighting is Sighting.DUPLICATE:
            self._compare(trade)
        return sighting

    def _judge_aggregates(self) -> None:
        self._price_unit, self._quantity_unit = self.finest.price_unit, self.finest.quantity_unit
        if self._aggregated_from is not None and not self.finest.aggregates_are_exact:
            doubted_from, self._aggregated_from = self._aggregated_from, None
            self.on_doubt(doubted_from)

    # -- proof ----------------------------------------------------------------------------------------------------

    def proves(self, around: Around, first_id: int, last_id: int, end: int) -> bool:
        """Whether no trade of a minute with these ids (``NO_TRADE``: with none) and this end can be missing."""
        id_after = around.id_after
        if id_after is None:
            id_after = self.newest_id.id_after(end, self.continuity.horizon)
        return is_proven(self.continuity.seen, around.id_before, id_after, first_id, last_id)

    def is_undecided(self, around: Around) -> bool:
        """Whether a missing id may belong to this minute."""
        continuity, before, after = self.continuity, around.id_before, around.id_after
        first = before + 1 if before != NO_TRADE else continuity.floor or 0
        return continuity.lacks(first, continuity.horizon if after is None else after - 1)
