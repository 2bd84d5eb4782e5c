"""What the newest trades were stated to be, so that a second statement of one of them can be compared.

Two sources (two connections, a stream and REST, or one that repeats itself) that say different things of the same
trade id cannot both be right, and nothing says which of them is. State kept: a ring with the newest statement of
each slot, the slot being the first id; its size bounds the memory, a second statement comes within seconds.
"""

from typing import Final

from candled.domain.numbers import format_units
from candled.domain.trade import Trade

REMEMBERED: Final = 1_024
"""Trades of a symbol whose values are remembered; a power of two."""
SLOT: Final = REMEMBERED - 1
"""The bits of a first id that are its slot."""


class Testimony:
    """The values of the newest trades of one symbol."""

    __slots__ = ("stated",)

    def __init__(self) -> None:
        """Begin with nothing stated."""
        self.stated: dict[int, Trade] = {}
        """By slot; who counts a trade puts it there."""

    def statement(self, trade_id: int) -> Trade | None:
        """Return the trade that was counted with this first id, if it is remembered."""
        stated = self.stated.get(trade_id & SLOT)
        return stated if stated is not None and stated.first_id == trade_id else None

    def contradicted(self, trade: Trade) -> Trade | None:
        """Return what the trade was stated to be before, if that differs from this statement."""
        before = self.stated.get(trade.first_id & SLOT)
        if before is None or before.first_id != trade.first_id or before.last_id != trade.last_id:
            return None
        return None if before == trade else before


def two_truths(before: Trade, after: Trade) -> str:
    """Put a contradiction into words."""
    return f"two truths: {_stated(before)}, then {_stated(after)}"


def _stated(trade: Trade) -> str:
    side = "sold" if trade.buyer_is_maker else "bought"
    return f"{side} {format_units(trade.quantity)} at {format_units(trade.price)}, time {trade.time}"
