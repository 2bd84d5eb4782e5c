"""Compute klines as the exchange does, in plain Decimal arithmetic from fills: a check on candled's bars.

Shares no code with candled's bars or scaled integers, so a mistake there cannot hide here.
"""

from collections.abc import Iterable
from decimal import ROUND_DOWN, Context, Decimal
from typing import Final

import attrs

from candled.embedded_exchange.market import NO_ID, Fill
from candled.embedded_exchange.units import decimal_text

_EXACT: Final = Context(prec=100, rounding=ROUND_DOWN)
_EIGHT: Final = Decimal("0.00000001")
_ZERO: Final = Decimal("0.00000000")


@attrs.frozen(slots=True)
class Kline:
    """One kline. Times in microseconds, ``end`` exclusive; decimals with eight places, exact quotes with more."""

    start: int
    end: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal
    count: int
    taker_buy_volume: Decimal
    taker_buy_quote_volume: Decimal
    first_id: int
    last_id: int


class KlineSum:
    """The kline of the fills added so far, which must come in order of id."""

    def __init__(
        self, start: int, end: int, previous_close: Decimal | None, *, rounds_quotes: bool = True
    ) -> None:
        self._rounds_quotes = rounds_quotes
        self.start = start
        self.end = end
        self._open = self._high = self._low = self._close = previous_close
        self._volume = self._quote = self._taker_volume = self._taker_quote = _ZERO
        self._count = 0
        self._first = self._last = NO_ID

    def add(self, fills: Iterable[Fill]) -> None:
        """Add more fills; placeholders count for nothing."""
        for fill in fills:
            if fill.is_placeholder:
                continue
            price = Decimal(decimal_text(fill.price))
            quantity = Decimal(decimal_text(fill.quantity))
            quote = _EXACT.multiply(price, quantity)
            if self._rounds_quotes:
                quote = _EXACT.quantize(quote, _EIGHT)
            if self._count == 0:
                self._open = self._high = self._low = price
                self._first = fill.first_id
            assert self._high is not None
            assert self._low is not None
            self._high = max(self._high, price)
            self._low = min(self._low, price)
            self._close = price
            self._last = fill.last_id
            self._count += fill.last_id - fill.first_id + 1
            self._volume = _EXACT.add(self._volume, quantity)
            self._quote = _EXACT.add(self._quote, quote)
            if not fill.buyer_is_maker:
                self._taker_volume = _EXACT.add(self._taker_volume, quantity)
                self._taker_quote = _EXACT.add(self._taker_quote, quote)

    def kline(self) -> Kline | None:
        """Return the kline so far; None if nothing was ever traded, so that there is no price."""
        if self._open is None or self._high is None or self._low is None or self._close is None:
            return None
        return Kline(
            start=self.start,
            end=self.end,
            open=self._open,
            high=self._high,
            low=self._low,
            close=self._close,
            volume=self._volume,
            quote_volume=self._quote,
            count=self._count,
            taker_buy_volume=self._taker_volume,
            taker_buy_quote_volume=self._taker_quote,
            first_id=self._first,
            last_id=self._last,
        )
