"""The running sums of one minute: an order-insensitive fold of trades."""

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.interval import MINUTE
from candled.domain.numbers import ONE
from candled.domain.trade import Trade


class Minute:
    """What is known of one minute of one symbol. Adding the same trades in any order gives the same sums."""

    __slots__ = (
        "close",
        "close_time",
        "first_id",
        "high",
        "last_id",
        "low",
        "open",
        "open_time",
        "previous_id",
        "published",
        "quote_volume",
        "symbol",
        "taker_buy_quote_volume",
        "taker_buy_volume",
        "trade_count",
        "volume",
    )

    def __init__(
        self, symbol: str, open_time: int, previous_id: int = NO_TRADE, published: Bar | None = None
    ) -> None:
        self.symbol = symbol
        self.open_time = open_time
        self.close_time = open_time + MINUTE
        self.previous_id = previous_id
        """Highest id known before this minute when last looked at; a forming bar shows it."""
        self.published = published
        """The bar as last told, once it is closed."""
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
        quote = price * quantity // ONE  # quote_units, inlined: every trade passes here
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

    @property
    def last_price(self) -> int:
        """Its close, as far as it is known."""
        if self.trade_count == 0 and self.published is not None:
            return self.published.close
        return self.close

    def forming_bar(self) -> Bar:
        """The bar as it stands, not closed."""
        return self._bar(closed=False, complete=False, revision=0)

    def closed_bar(self, *, previous_id: int, previous_close: int, complete: bool, revision: int) -> Bar:
        """The bar as it closes; without trades it repeats the close before it, as the exchange's klines do."""
        self.previous_id = previous_id
        if self.trade_count == 0:
            self.open = self.high = self.low = self.close = previous_close
        return self._bar(closed=True, complete=complete, revision=revision)

    def _bar(self, *, closed: bool, complete: bool, revision: int) -> Bar:
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
            closed,
            complete,
            revision,
        )
