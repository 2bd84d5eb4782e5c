"""What an exchange must provide: the one interface between the feed and a package like ``binance``.

An ``ExchangeAdapter`` says what the exchange can do (``Capabilities``), where it is found (``Defaults``), how its
streams are subscribed to and read, and how its REST side is asked. Connections, silence, exchange time, repair and
status work from that alone; ``registry`` maps the name in the settings to the adapter.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, Protocol

import attrs

from candled.domain.bar import Bar
from candled.domain.exactness import aggregates_are_exact
from candled.domain.feed_event import NewestId
from candled.domain.interval import MINUTE
from candled.domain.refusal import Refused
from candled.domain.trade import Trade
from candled.feed.errors import UnknownSymbolError
from candled.feed.refusals import RefusalBook

if TYPE_CHECKING:
    import httpcore
    import trio

Connect = Callable[[str, int, bool], Awaitable["trio.abc.Stream"]]
"""Opens a byte stream to a host and port, with TLS or without: where tests put a network of their own."""

COMPARED_MAX: Final = 5000
"""Names that are compared with an unknown one; more than an exchange should list."""
HINTS_MAX: Final = 3
"""Unknown symbols for which others are suggested."""
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
        """Whether an aggregate sums up like its fills, as far as price tick and lot step show."""
        return aggregates_are_exact(self.price_decimals, self.quantity_decimals)


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
        if unknown := self.unknown(symbols):
            raise UnknownSymbolError(f"The exchange does not have the symbol {', '.join(unknown)}.")

    def unknown(self, symbols: Sequence[str]) -> list[str]:
        """Return those of these symbols that it has not, the first ones with the nearest ones that there are."""
        unknown = [symbol for symbol in symbols if symbol not in self.instruments]
        near = nearest_to_each(unknown, self.names)
        return [f"{symbol}{_hint(near[symbol])}" for symbol in unknown]


def nearest_to_each(symbols: Sequence[str], names: Sequence[str]) -> dict[str, list[str]]:
    """Return up to three names that look like each symbol's, the nearest first.

    To compare names takes some 10 microseconds each, and an exchange may call every symbol unknown at once: names
    beyond the first ``COMPARED_MAX``, and symbols beyond the first ``HINTS_MAX``, are not looked at.
    """
    compared = names[:COMPARED_MAX]
    return {
        symbol: get_close_matches(symbol.upper(), compared, n=3, cutoff=0.5) if place < HINTS_MAX else []
        for place, symbol in enumerate(symbols)
    }


def _hint(near: Sequence[str]) -> str:
    return f" (did you mean {' or '.join(near)}?)" if near else ""


@attrs.frozen(slots=True, kw_only=True)
class Weights:
    """What a request weighs in the exchange's limit a minute."""

    trades: int
    """A page of raw trades, however many rows it has."""
    aggregates: int
    """A page of aggregates."""
    klines: int
    """A page of 1-minute klines."""
    reserve: int
    """A minute of all that is no repair: the clock, the list of symbols, checks of silent symbols."""


@attrs.frozen(slots=True, kw_only=True)
class Capabilities:
    """What an exchange offers and what it limits; repair and connections are planned from these values alone.

    One thing every exchange must offer: the trade ids of a symbol are contiguous, each the one before it plus 1.
    A missing id is then a missing trade, which is what ``complete`` and the repair rest on.
    """

    streams: tuple[str, ...]
    """Kinds of trade streams, as the setting ``stream`` names them; the first one carries raw trades."""
    page: int
    """Maximum rows of a page of trades or aggregates."""
    kline_page: int
    """Maximum rows of a page of klines."""
    klines_carry_trade_count: bool
    """Whether counting from id to id can prove a minute by its kline. Where not, a kline states prices and volume
    and nothing else: no bar is made of one, a count of 1 says that there were trades, and what a kline does not
    state is 0 in it."""
    aggregates_exact: bool
    """Whether there are aggregates whose sums are exact wherever ``Instrument.aggregates_are_exact``."""
    empty_minutes: bool
    """Whether a minute without trades has a kline; where not, a later kline shows that it was empty."""
    states_newest_ids: bool
    """Whether its streams state the newest trade id now and then: silent minutes are settled by that then."""
    quote_decimals: int
    """Decimals to which it truncates price x quantity of each fill; 16, as many as the product has, if it does not
    publish a rounded one."""
    weights: Weights
    connection_lifetime: float
    """Seconds after which a connection is replaced, before the exchange ends it; infinite if it never does."""
    keepalive: float
    """Seconds between pings, and until a missing pong means that the connection is dead."""
    streams_per_connection: int
    attempts: tuple[int, float]
    """Maximum number of connections begun in a number of seconds."""
    message_seconds: float
    """Between messages to the exchange on one connection."""
    requests_at_once: int
    """Maximum number of REST requests of the repair under way."""
    rest_lag_max: int
    """Exchange time, microseconds, by which its REST side may lag behind its streams."""


@attrs.frozen(slots=True, kw_only=True)
class Defaults:
    """Settings that differ from exchange to exchange, for where they are not set."""

    symbols: tuple[str, ...]
    stream_urls: tuple[str, ...]
    rest_urls: tuple[str, ...]
    rest_weight_per_minute: int

    def for_rest(self, base_urls: Sequence[str], weight_per_minute: int | None) -> tuple[Sequence[str], int]:
        """Return these base URLs and this request weight, or the exchange's own where none are given."""
        weight = self.rest_weight_per_minute if weight_per_minute is None else weight_per_minute
        return base_urls or self.rest_urls, weight


@attrs.frozen(slots=True)
class Subscription:
    """How a new connection gets its streams."""

    url: str
    messages: tuple[str, ...] = ()
    """Sent one after another, ``Capabilities.message_seconds`` apart."""


@attrs.define(slots=True)
class Decoded:
    """What a list of frames says."""

    trades: list[Trade] = attrs.Factory(list)
    """Within the limits of the domain; none is later than its own message by more than ``EVENT_LEAD_MAX``."""
    event_times: dict[str, int] = attrs.Factory(dict)
    """By symbol: the newest of the event times, microseconds since the epoch."""
    newest_ids: list[NewestId] = attrs.Factory(list)
    """What heartbeats state, where the exchange sends them."""
    last_trades: list[Trade] = attrs.Factory(list)
    """The last trade of a symbol before its subscription, where the exchange sends it: as a rule an old one."""
    shutdown: bool = False
    """The exchange asks its clients to reconnect."""
    refused: list[Refused] = attrs.Factory(list)
    """Frames that were skipped."""


@attrs.frozen(slots=True)
class TradePage:
    """A page of trades, in order of id, each id once, all within the domain's limits."""

    trades: list[Trade]
    refused: tuple[Refused, ...] = ()
    """Rows that were not taken; their ids exist all the same."""
    cursor: int | None = None
    """Where the next page of aggregates begins; None for raw trades, and where there is none."""

    @property
    def first_id(self) -> int | None:
        """Lowest id of any row, taken or not."""
        ids = [row.first_id for row in self.refused if row.has_ids]
        ids += [trade.first_id for trade in self.trades[:1]]
        return min(ids, default=None)

    @property
    def last_id(self) -> int | None:
        """Highest id of any row, taken or not."""
        ids = [row.last_id for row in self.refused if row.has_ids]
        ids += [trade.last_id for trade in self.trades[-1:]]
        return max(ids, default=None)


@attrs.frozen(slots=True)
class KlinePage:
    """A page of 1-minute klines, in order, each minute once. They carry no trade ids."""

    bars: list[Bar]
    refused: tuple[Refused, ...] = ()
    """Rows that were not taken."""

    def may_have(self, open_time: int) -> bool:
        """Return whether the kline of this minute may be among the rows that were not taken."""
        return any(row.open_time in (None, open_time) for row in self.refused)

    @property
    def end(self) -> int | None:
        """Open time after that of the last row, taken or not."""
        times = [row.open_time for row in self.refused if row.open_time is not None]
        times += [bar.open_time for bar in self.bars[-1:]]
        return max(times) + MINUTE if times else None


class TradeSource(Protocol):
    """Where trades and klines are fetched from.

    Every method raises ``SourceUnavailableError`` or ``SourceRefusedError`` where there is no answer.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What its answers prove: those of its adapter."""

    @property
    def weight_used(self) -> int:
        """Request weight used in the last minute."""

    @property
    def weight_limit(self) -> int:
        """Request weight that may be used in a minute."""

    async def server_time(self) -> int:
        """The exchange's clock, microseconds since the epoch."""

    async def describe(self, symbols: Sequence[str]) -> ExchangeDescription:
        """The exchange and these symbols; those it does not have are left out."""

    async def trades(self, symbol: str, first_id: int, limit: int) -> TradePage:
        """Raw trades from this id on; at most a page of them."""

    async def aggregates_since(self, symbol: str, time: int, limit: int) -> TradePage:
        """Aggregates from a time on; raw trades where the exchange has no aggregates, here and below."""

    async def aggregates_from(self, symbol: str, cursor: int, limit: int) -> TradePage:
        """The page of aggregates at a cursor."""

    async def newest(self, symbol: str) -> Trade | None:
        """The newest aggregate."""

    async def klines(self, symbol: str, first_open_time: int, limit: int) -> KlinePage:
        """1-minute klines from this minute on; the running one too."""


class RestClient(TradeSource, Protocol):
    """A ``TradeSource`` that keeps within the exchange's limits, and its figures."""

    requests: int
    failures: int
    bytes: int
    """Of the answers' bodies."""
    refusals: RefusalBook
    """What was refused of the answers."""


class ExchangeAdapter(Protocol):
    """An exchange, as the feed uses it. Stateless: one value serves any number of feeds."""

    @property
    def name(self) -> str:
        """As the setting ``exchange`` names it."""

    @property
    def identity(self) -> str:
        """What a data directory with its bars is bound to."""

    @property
    def defaults(self) -> Defaults:
        """Settings for where none are given."""

    @property
    def capabilities(self) -> Capabilities:
        """What it offers and limits."""

    def channel(self, instrument: Instrument, stream: str) -> str:
        """Name the stream of a symbol, as ``subscribe`` takes it.

        Args:
            instrument: the symbol.
            stream: one of ``Capabilities.streams``.
        """

    def subscribe(self, base_url: str, channels: Sequence[str]) -> Subscription:
        """Return where to connect and what to send to receive these channels."""

    def decode(self, frames: Iterable[str | bytes]) -> Decoded:
        """Read frames; one that makes no sense is skipped and reported in the result, never raised."""

    def open_rest(
        self,
        base_urls: Sequence[str] = (),
        weight_per_minute: int | None = None,
        network: "httpcore.AsyncNetworkBackend | None" = None,
    ) -> AbstractAsyncContextManager[RestClient]:
        """Open a client of its REST side.

        Args:
            base_urls: asked in turn; those of ``defaults`` if there are none.
            weight_per_minute: request weight that may be used; that of ``defaults`` if None.
            network: another one than the machine's, for tests.
        """
