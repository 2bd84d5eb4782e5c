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
    """Microseconds since the epoch, at the middle of the request."""
    received: float
    """Local monotonic clock at the same moment, seconds."""


@attrs.frozen(slots=True)
class MinuteSettled:
    """The exchange's own kline of a minute in which the stream brought no trade."""

    symbol: str
    open_time: int
    trade_count: int | None
    """None: the exchange has no kline for this minute, so it was down or the symbol halted."""


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
    | MinuteSettled
    | RangeUnfillable
    | BarsFetched
)
