"""The wire form of Coinbase Exchange: channels, cursors, errors with a message."""

from typing import TYPE_CHECKING, Final

from candled.embedded_exchange.coinbase.rates import RequestRates
from candled.embedded_exchange.coinbase.rest import CoinbaseRestSide, failure
from candled.embedded_exchange.coinbase.streams import CoinbaseStreams
from candled.embedded_exchange.rest_side import Answer, Request

if TYPE_CHECKING:
    from candled.embedded_exchange.core import Exchange

_PER_SECOND: Final = 10
_BURST: Final = 15


class CoinbaseForm:
    """See ``Form``."""

    fills_halts = True

    def __init__(self, exchange: "Exchange") -> None:
        self._exchange = exchange
        exchange.ledger.rounds_quotes = False  # it publishes none
        rates = RequestRates(_PER_SECOND, _BURST, exchange.clock.monotonic)
        self.rest = CoinbaseRestSide(exchange.ledger, exchange.clock, rates)

    def open_streams(self, path: str, query: str) -> CoinbaseStreams | Answer:
        """See ``Form``."""
        return CoinbaseStreams(self._exchange) if path in ("", "/") else failure(404, "NotFound")

    def failure(self, status: int) -> Answer:
        """See ``Form``."""
        if status == 403:  # of a firewall in front of the original
            return Answer(status=403, body=b"<html></html>", content_type="text/html")
        message = {429: "Public rate limit exceeded", 500: "Internal server error"}.get(status, "Unavailable")
        return failure(status, message)

    def refusal(self, request: Request) -> Answer | None:
        """See ``Form``. No request of market data wants a key."""
        return None
