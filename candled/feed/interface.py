"""What a feed is to the rest of candled; another exchange is one new package beside ``binance``."""

from collections.abc import Awaitable, Callable, Sequence
from difflib import get_close_matches
from typing import Final, Protocol

import attrs
import trio

from candled.domain.bar import Bar
from candled.domain.feed_event import FeedEvent
from candled.domain.trade import Trade
from candled.errors import UserError

Connect = Callable[[str, int, bool], Awaitable[trio.abc.Stream]]
"""Opens a byte stream to a host and port, with TLS or without: where tests put a network of their own."""

Submit = Callable[[FeedEvent], Awaitable[None]]
"""Hands an event to the engine and returns when it was handled."""


class FeedError(UserError):
    """A feed can't do its work; the text says why and what to change."""


class UnknownSymbolError(FeedError):
    """A symbol that the exchange does not have."""


class SourceUnavailableError(FeedError):
    """The exchange's REST side did not answer, or not usefully: try again later."""


class SourceRefusedError(FeedError):
    """The exchange's REST side refused a request: asking again will not help."""


TRADING: Final = "TRADING"
"""Status of a symbol that can be traded."""
DELISTED: Final = "DELISTED"
"""Status of a symbol that the exchange does not have any more, under this name: candled's own word."""


@attrs.frozen(slots=True)
class Instrument:
    """A symbol as the exchange describes it."""

    symbol: str
    status: str
    """The exchange's own word: TRADING, HALT, BREAK, ...; or DELISTED."""
    price_decimals: int
    quantity_decimals: int

    @property
    def aggregates_are_exact(self) -> bool:
        """Whether the quote volume of an aggregate is the sum of its fills'.

        The exchange truncates each fill's to eight decimals; where no product has more, nothing is truncated.
        """
        return self.price_decimals + self.quantity_decimals <= 8


@attrs.frozen(slots=True)
class ExchangeDescription:
    """What an exchange says of itself."""

    identity: str
    """Names the exchange and, for a made-up one, its market: what a data directory is bound to."""
    instruments: dict[str, Instrument]
    """Those that were asked for and that it has."""
    names: Sequence[str] = ()
    """Every symbol that it named on the way: all of them, if one that was asked for is not there."""

    def check(self, symbols: Sequence[str]) -> None:
        """See that it has these symbols.

        Raises:
            UnknownSymbolError: names those that it has not, and the nearest ones that there are.
        """
        unknown = [symbol for symbol in symbols if symbol not in self.instruments]
        if unknown:
            texts = [f"{symbol}{_hint(nearest(symbol, self.names))}" for symbol in unknown]
            raise UnknownSymbolError(f"the exchange does not have the symbol {', '.join(texts)}")


def nearest(symbol: str, names: Sequence[str]) -> list[str]:
    """Up to three names that look like this symbol's, the nearest first."""
    return get_close_matches(symbol.upper(), names, n=3, cutoff=0.5)


def _hint(near: Sequence[str]) -> str:
    return f" (did you mean {' or '.join(near)}?)" if near else ""


class TradeSource(Protocol):
    """Where trades and klines are fetched from.

    Every method raises ``SourceUnavailableError`` or ``SourceRefusedError`` where there is no answer.
    """

    async def server_time(self) -> int:
        """The exchange's clock, microseconds since the epoch."""

    async def describe(self, symbols: Sequence[str]) -> ExchangeDescription:
        """The exchange and these symbols; those it does not have are left out."""

    async def trades(self, symbol: str, first_id: int, limit: int) -> list[Trade]:
        """Raw trades from this id on, in order; at most a page of them."""

    async def aggregates_since(self, symbol: str, time: int, limit: int) -> tuple[list[Trade], int | None]:
        """Aggregates from a time on, in order, and where ``aggregates_from`` goes on."""

    async def aggregates_from(self, symbol: str, cursor: int, limit: int) -> tuple[list[Trade], int | None]:
        """The page of aggregates at a cursor, and the next cursor."""

    async def newest(self, symbol: str) -> Trade | None:
        """The newest aggregate."""

    async def klines(self, symbol: str, first_open_time: int, limit: int) -> list[Bar]:
        """1-minute klines from this minute on, in order; the running one too. They carry no trade ids."""


class Wishes(Protocol):
    """What the engine lacks, by symbol: it shrinks as events bring it."""

    def symbols(self) -> list[str]:
        """Symbols that lack something."""

    def missing(self, symbol: str) -> list[tuple[int, int]]:
        """Ranges of trade ids that were not seen."""

    def unsettled(self, symbol: str) -> list[tuple[int, int]]:
        """Ranges of minutes, by first and last open time, whose klines decide whether they were empty."""

    def wanted_start(self, symbol: str) -> int | None:
        """Open time of the first minute ever, while the last trade before it is not known."""
