"""Coinbase's streams: the channels ``matches`` and ``heartbeat``, product by product."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from candled.embedded_exchange.coinbase.wire import heartbeat_event, match_event
from candled.embedded_exchange.ledger import Ledger
from candled.embedded_exchange.market import Fill
from candled.embedded_exchange.tapes import EVENT_DELAY, FillTape, Message, Tapes

if TYPE_CHECKING:
    from candled.embedded_exchange.core import Exchange

_CHANNELS: Final = ("matches", "heartbeat")
_HEARTBEAT: Final = 1_000_000
"""Microseconds between two heartbeats of a product: of the real clock, as for whoever reads a fast exchange,
but at most ``_HEARTBEAT_MAX`` of the exchange's own."""
_HEARTBEAT_MAX: Final = 10_000_000


class CoinbaseStreams(Tapes):
    """See ``Streams``."""

    def __init__(self, exchange: "Exchange") -> None:
        super().__init__()
        self._exchange = exchange
        self._subscribed: dict[tuple[str, str], None] = {}
        """Product and channel."""

    @property
    def names(self) -> list[str]:
        """See ``Streams``."""
        return [f"{channel}:{product}" for product, channel in self._subscribed]

    def shutdown_notices(self) -> list[str]:
        """See ``Streams``. The original just ends the connection."""
        return []

    def answer(self, text: str) -> list[str]:
        """See ``Streams``."""
        try:
            message = msgspec.json.decode(text)
        except msgspec.DecodeError:
            return [_error("Malformed JSON", "it cannot be read")]
        kind = message.get("type") if isinstance(message, dict) else None
        if kind not in ("subscribe", "unsubscribe"):
            return [_error("Failed to subscribe", "Type has to be either subscribe or unsubscribe")]
        try:
            wanted = list(self._wanted(message))
        except ValueError as error:
            return [_error("Failed to subscribe", str(error))]
        if kind == "subscribe":
            self._subscribe(wanted)
        else:
            for key in wanted:
                self._subscribed.pop(key, None)
                self._tapes.pop(key, None)
            self.rewind()
        return [self._subscriptions()]

    def _subscribe(self, wanted: Iterable[tuple[str, str]]) -> None:
        exchange = self._exchange
        now = exchange.clock.now()
        for key in wanted:
            if key in self._subscribed:
                continue
            self._subscribed[key] = None
            product, channel = key
            if channel == "matches":
                self._start(key, _Matches(exchange.ledger, product, now))
            else:
                period = int(min(max(1.0, exchange.clock.speed) * _HEARTBEAT, _HEARTBEAT_MAX))
                self._start(key, _Heartbeats(exchange.ledger, product, now, period))
        exchange.subscribed()

    def _wanted(self, message: dict[str, Any]) -> Iterable[tuple[str, str]]:
        """Products and channels that a message names.

        Raises:
            ValueError: it names one that there is not.
        """
        of_all = message.get("product_ids", [])
        channels = message.get("channels")
        if not isinstance(channels, list) or not channels:
            raise ValueError("channels have to be an array of at least one")
        for channel in channels:
            name = channel.get("name") if isinstance(channel, dict) else channel
            products = channel.get("product_ids", of_all) if isinstance(channel, dict) else of_all
            if name not in _CHANNELS:
                raise ValueError(f"{name} is not a valid channel")
            if not isinstance(products, list) or not products:
                raise ValueError(f"You need to specify at least one product ID for channel {name}")
            for product in products:
                if product not in self._exchange.ledger.symbols or not self._exchange.rest.is_listed(product):
                    raise ValueError(f"{product} is not a valid product")
                yield product, name

    def _subscriptions(self) -> str:
        channels = [
            {"name": channel, "product_ids": [product for product, each in self._subscribed if each == channel]}
            for channel in _CHANNELS
            if any(each == channel for _, each in self._subscribed)
        ]
        return msgspec.json.encode({"type": "subscriptions", "channels": channels}).decode()


class _Matches(FillTape):
    """``matches`` of one product; the last one before the subscription comes first, as ``last_match``."""

    def __init__(self, ledger: Ledger, symbol: str, now: int) -> None:
        self._last = next(iter(ledger.newest_fills(symbol, 1, now - EVENT_DELAY)), None)
        self._subscribed_at = now
        super().__init__(ledger, symbol, now)
        if self._last is not None:
            self.due = now

    def rewind(self) -> None:
        """See ``Tape``."""
        super().rewind()
        if self._last is not None:
            self.due = self._subscribed_at

    def play(self, until: int, out: list[Message], limit: int) -> None:
        """See ``Tape``."""
        if self._last is not None:
            out.append((self._symbol, match_event(self._symbol, self._last, "last_match")))
            self._last = None
        super().play(until, out, limit)

    def _send(self, fills: Sequence[Fill], event_time: int, out: list[Message]) -> None:
        out.extend((self._symbol, match_event(self._symbol, fill)) for fill in fills)


class _Heartbeats:
    """``heartbeat`` of one product."""

    def __init__(self, ledger: Ledger, symbol: str, now: int, period: int) -> None:
        self._ledger = ledger
        self._symbol = symbol
        self._period = period
        self.due: int | None = now + period

    def rewind(self) -> None:
        """See ``Tape``: heartbeats do not depend on the market."""

    def play(self, until: int, out: list[Message], limit: int) -> None:
        """See ``Tape``."""
        while self.due is not None and self.due <= until and len(out) < limit:
            last_id = max(0, self._ledger.last_id(self._symbol, self.due - EVENT_DELAY))
            out.append((self._symbol, heartbeat_event(self._symbol, last_id, self.due)))
            self.due += self._period


def _error(message: str, reason: str) -> str:
    return msgspec.json.encode({"type": "error", "message": message, "reason": reason}).decode()
