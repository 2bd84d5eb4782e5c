"""The running sums of one minute: an order-insensitive fold of trades."""

import attrs
from msgspec.structs import replace

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.interval import MINUTE
from candled.domain.numbers import DECIMALS, quote_divisor
from candled.domain.trade import Trade


class Minute:
    """What is known of one minute of one symbol. Adding the same trades in any order gives the same sums."""

    __slots__ = (
        "close",
        "close_time",
        "first_id",
        "high",
        "is_price_known",
        "last_id",
        "low",
        "open",
        "open_time",
        "previous_id",
        "published",
        "quote_decimals",
        "quote_divisor",
        "quote_volume",
        "symbol",
        "taker_buy_quote_volume",
        "taker_buy_volume",
        "trade_count",
        "volume",
    )

    def __init__(
        self,
        symbol: str,
        open_time: int,
        previous_id: int = NO_TRADE,
        published: Bar | None = None,
        quote_decimals: int = DECIMALS,
    ) -> None:
        self.symbol = symbol
        self.open_time = open_time
        self.close_time = open_time + MINUTE
        self.quote_decimals = quote_decimals
        """Decimals to which the quote of each trade is truncated."""
        self.quote_divisor = quote_divisor(quote_decimals)
        self.previous_id = previous_id
        """Highest id known before this minute when last looked at; a forming bar shows it."""
        self.published = published
        """The bar as last published, once it is closed."""
        self.is_price_known = published is not None and published.complete
        """Whether its close is that of the newest trade up to its end: in an empty minute, of ``previous_id``."""
        self.first_id = self.last_id = NO_TRADE
        self.open = self.high = self.low = self.close = 0
        self.volume = self.quote_volume = self.trade_count = 0
        self.taker_buy_volume = self.taker_buy_quote_volume = 0

    def __repr__(self) -> str:
        ids = f"{self.first_id}..{self.last_id}" if self.trade_count else "empty"
        return f"<Minute {self.symbol} {self.open_time} {ids}{' published' if self.published else ''}>"

    def add(self, trade: Trade) -> None:
        """Count a trade of this minute that was not counted before."""
        price, quantity = trade.price, trade.quantity
        quote = price * quantity // self.quote_divisor
        if self.last_id == NO_TRADE:
            self.first_id, self.last_id = trade.first_id, trade.last_id
            self.open = self.high = self.low = self.close = price
            self.volume = self.quote_volume = self.trade_count = 0
            self.taker_buy_volume = self.taker_buy_quote_volume = 0
        else:
            if trade.last_id > self.last_id:
                self.last_id, self.close = trade.last_id, price
            if trade.first_id < self.first_id:
                self.first_id, self.open = trade.first_id, price
            if price > self.high:
                self.high = price
            elif price < self.low:
                self.low = price
        self.volume += quantity
        self.quote_volume += quote
        self.trade_count += trade.last_id - trade.first_id + 1
        if not trade.buyer_is_maker:
            self.taker_buy_volume += quantity
            self.taker_buy_quote_volume += quote

    def resume(self, bar: Bar) -> None:
        """Take over the sums of a bar whose trades were all counted, here or by the exchange."""
        self.first_id, self.last_id = bar.first_trade_id, bar.last_trade_id
        self.open, self.high, self.low, self.close = bar.open, bar.high, bar.low, bar.close
        self.volume, self.quote_volume, self.trade_count = bar.volume, bar.quote_volume, bar.trade_count
        self.taker_buy_volume = bar.taker_buy_volume
        self.taker_buy_quote_volume = bar.taker_buy_quote_volume
        self.is_price_known = bar.trade_count > 0 or bar.complete

    def clear(self) -> None:
        """Forget the trades, to be built again."""
        self.first_id = self.last_id = NO_TRADE
        self.volume = self.quote_volume = self.trade_count = 0
        self.taker_buy_volume = self.taker_buy_quote_volume = 0

    @property
    def last_price(self) -> int:
        """Its close, as far as it is known."""
        if self.trade_count == 0 and self.published is not None:
            return self.published.close
        return self.close

    def forming_bar(self) -> Bar:
        """The bar as it stands, not closed. Made for every trade, so without keywords."""
        return Bar(
            self.symbol,
            "1m",
            self.open_time,
            self.close_time,
            self.open,
            self.high,
            self.low,
            self.close,
            self.volume,
            self.quote_volume,
            self.trade_count,
            self.taker_buy_volume,
            self.taker_buy_quote_volume,
            self.first_id,
            self.last_id,
            self.previous_id,
            False,
            False,
            0,
            self.quote_decimals,
        )

    def closed_bar(self, *, previous_id: int, previous_close: int | None, proven: bool, revision: int) -> Bar:
        """The bar as it closes; without trades it repeats the close before it, as the exchange's klines do.

        Args:
            previous_id: Highest id known before it.
            previous_close: The close before it; None if that is not known: an empty bar is not complete then, and
                keeps what it had.
            proven: Whether its ids prove it.
            revision: Its number.
        """
        was_complete = self.published is not None and self.published.complete
        self.previous_id = previous_id
        self.is_price_known = self.trade_count > 0 or previous_close is not None or was_complete
        if self.trade_count == 0:
            self.open = self.high = self.low = self.close = (
                self.last_price if previous_close is None else previous_close
            )
        complete = proven and self.is_price_known
        return replace(self.forming_bar(), closed=True, complete=complete, revision=revision)


@attrs.define(slots=True)
class MinuteCounts:
    """What became of minutes since the start."""

    closes: int = 0
    incomplete_closes: int = 0
    revisions: int = 0
