"""What a feed tells the engine, in-band and in order: trades, and everything that bears on their completeness."""

import attrs

from candled.domain.bar import Bar
from candled.domain.trade import Trade


@attrs.frozen(slots=True)
class TradesArrived:
    """Trades from the live stream, in any order, of any symbols."""

    trades: list[Trade]
    event_time: int
    """Newest of the exchange's event times on them, microseconds since the epoch."""
    received: float
    """Local monotonic clock when they were read, seconds."""


@attrs.frozen(slots=True)
class TradesRepaired:
    """Trades of one symbol fetched to fill what the stream did not bring."""

    symbol: str
    trades: list[Trade]


@attrs.frozen(slots=True)
class StreamLost:
    """No connection carries these symbols now: silence proves nothing until ``StreamLive``."""

    symbols: tuple[str, ...]
    reason: str


@attrs.frozen(slots=True)
class StreamLive:
    """Trades of these symbols flow, or would if there were any."""

    symbols: tuple[str, ...]


@attrs.frozen(slots=True)
class ServerTime:
    """The exchange's own clock, read over REST."""

    time: int
    """Microseconds since the epoch; it was read at some moment between ``asked`` and ``received``."""
    asked: float
    """Local monotonic clock when the request was sent, seconds."""
    received: float
    """Local monotonic clock when the answer came, seconds."""


@attrs.frozen(slots=True)
class MinutesSettled:
    """The exchange's own klines of minutes in which no trade was seen, by open time.

    Such a bar has no trade ids. None: the exchange has later klines but none for this minute, so it was down.
    """

    symbol: str
    klines: dict[int, Bar | None]


@attrs.frozen(slots=True)
class StartFound:
    """The last trade before the first bar ever: fetching from it on makes that bar whole, and proves it."""

    symbol: str
    trade_id: int


@attrs.frozen(slots=True)
class TradeExists:
    """A trade id that the exchange has, learnt without its stream: all ids up to it are wanted."""

    symbol: str
    trade_id: int


@attrs.frozen(slots=True)
class LastTradeFound:
    """The exchange's newest trade of a symbol that was silent since its stream is live: its bars begin now."""

    symbol: str
    trade: Trade
    """Or the aggregate that it is part of."""


@attrs.frozen(slots=True)
class RangeUnfillable:
    """The exchange does not have these trade ids, and why that is believed."""

    symbol: str
    first_id: int
    last_id: int
    reason: str


@attrs.frozen(slots=True)
class BarsFetched:
    """Whole closed minutes of one symbol from the exchange's klines, after a long absence, oldest first.

    Each bar's ids are what counting gives; ``complete`` says whether they meet the known ids at both ends.
    """

    symbol: str
    bars: list[Bar]


FeedEvent = (
    TradesArrived
    | TradesRepaired
    | StreamLost
    | StreamLive
    | ServerTime
    | MinutesSettled
    | StartFound
    | TradeExists
    | LastTradeFound
    | RangeUnfillable
    | BarsFetched
)
