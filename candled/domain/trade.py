"""A trade (tick), as every feed delivers it."""

import msgspec


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One fill, or an aggregate of fills with consecutive ids at one price.

    A msgspec struct rather than an attrs class: one is built for every tick, and this costs a fifth.
    """

    symbol: str
    first_id: int
    """Lowest trade id in it; equal to ``last_id`` for a raw trade."""
    last_id: int
    price: int
    """Units of 10^-8 (see ``numbers``)."""
    quantity: int
    """Units of 10^-8 of the base asset."""
    time: int
    """Exchange's time of the trade, microseconds since the epoch."""
    buyer_is_maker: bool
    """True when the seller was the taker."""

    @property
    def is_placeholder(self) -> bool:
        """Whether it takes an id but is no trade: the exchange sends such rows with price or quantity 0."""
        return self.price == 0 or self.quantity == 0
