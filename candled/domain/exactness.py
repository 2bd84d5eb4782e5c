"""Decide whether an aggregate of trades is as exact as its fills.

The exchange truncates price x quantity of each fill to eight decimals and sums those. An aggregate shows the sum
of the quantities at one price, so its own product is the sum of its fills' only if *no possible* fill is
truncated. A fill of q at price p needs no truncation if decimals(p) + decimals(q) <= 8. Prices are multiples of
the price tick and quantities of the lot step, so this is a rule about the symbol and not about the one aggregate:
0.001 may be one fill, or 0.0002 + 0.0008.

Assumptions:

* Nothing is taken from an aggregate alone. Decimals are the finest that the symbol's trades have carried (in every
  row of an archive file; in every trade that an engine saw since it was made), and those of the tick and the step
  that the exchange states, whichever are finer.
* Trades show a lower bound of the step's decimals. An upper bound is taken from the exchange's statement. Where
  there is none, since an archive is read without the exchange, it is assumed that ``SINGLE_FILLS_MIN`` single
  fills have shown the finest step in force: on recordings 70 to 80 of 100 do. With fewer, no aggregate is exact.
* Ticks and steps may change. A trade with finer decimals than all before withdraws the verdict from then on, and
  the caller must recheck the aggregates that it applied shortly before.
* An aggregate of one fill is that fill: it is always exact.
"""

from typing import Final

import attrs

from candled.domain.bar import Bar
from candled.domain.numbers import DECIMALS, ONE

SINGLE_FILLS_MIN: Final = 100
"""Single fills that must be seen before their decimals stand for a lot step that the exchange did not state."""


def decimals_of(units: int) -> int:
    """Count the decimals of a number in units of 10^-8 without its trailing zeros."""
    decimals = DECIMALS
    while decimals and units % 10 == 0:
        units //= 10
        decimals -= 1
    return decimals


def aggregates_are_exact(price_decimals: int, quantity_decimals: int) -> bool:
    """Decide whether no fill of a symbol is ever truncated, so that aggregates sum up like their fills.

    Args:
        price_decimals: Decimals of the finest price that is possible.
        quantity_decimals: Decimals of the finest quantity that is possible.
    """
    return price_decimals + quantity_decimals <= DECIMALS


def quote_volumes_fit(bar: Bar) -> bool:
    """Decide whether the quote volumes of a bar can be sums of price x quantity within its range.

    That holds for all its trades, those of buying takers, and the others. Each trade's product is truncated, by
    less than a unit, so as many units as there are trades may be missing.
    """
    sides = (
        (bar.volume, bar.quote_volume),
        (bar.taker_buy_volume, bar.taker_buy_quote_volume),
        (bar.volume - bar.taker_buy_volume, bar.quote_volume - bar.taker_buy_quote_volume),
    )
    return all(
        bar.low * volume <= (quote + bar.trade_count) * ONE and quote * ONE <= bar.high * volume
        for volume, quote in sides
    )


@attrs.define(slots=True)
class FinestDecimals:
    """The finest decimals of one symbol, as stated and as carried by its trades."""

    price: int = 0
    quantity: int = 0
    single_fills: int = 0
    """Trades of one fill among those that ``price`` and ``quantity`` were taken from."""
    is_stated: bool = False
    """Whether the exchange's price tick and lot step are among them."""

    def state(self, price: int, quantity: int) -> None:
        """Record the decimals of the price tick and the lot step, as the exchange states them."""
        self.price, self.quantity = max(self.price, price), max(self.quantity, quantity)
        self.is_stated = True

    def see(self, price: int, quantity: int) -> None:
        """Record the decimals that a trade carries; price and quantity in units of 10^-8."""
        self.price = max(self.price, decimals_of(price))
        self.quantity = max(self.quantity, decimals_of(quantity))

    @property
    def price_unit(self) -> int:
        """The finest price, in units of 10^-8: every price so far is a multiple of it."""
        return ONE // int(10**self.price)

    @property
    def quantity_unit(self) -> int:
        """The finest quantity, in units of 10^-8: every quantity so far is a multiple of it."""
        return ONE // int(10**self.quantity)

    @property
    def aggregates_are_exact(self) -> bool:
        """Whether aggregates of several fills may stand for their fills."""
        assured = self.is_stated or self.single_fills >= SINGLE_FILLS_MIN
        return assured and aggregates_are_exact(self.price, self.quantity)
