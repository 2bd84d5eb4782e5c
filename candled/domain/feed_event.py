"""Input events of the engine, in-band and in order: trades, and evidence of their completeness.

Only these events change the engine; one task passes them to it.
"""

import attrs

from candled.domain.bar import Bar
from candled.domain.status import Gap
from candled.domain.trade import Trade


@attrs.frozen(slots=True)
class TradesArrived:
    """Trades from the live stream, in any order, of any symbols."""

    trades: list[Trade]
    event_times: dict[str, int]
    """By symbol: the newest of the exchange's event times on its trades, microseconds since the epoch."""
    received: float
    """Local monotonic clock when they were read, seconds."""


@attrs.frozen(slots=True)
class TradesRepaired:
    """Trades of one symbol fetched over REST to fill a gap of the stream."""

    symbol: str
    trades: list[Trade]


@attrs.frozen(slots=True)
class TradesRefused:
    """Trades of the live stream that were refused: these ids exist but were not seen."""

    symbol: str
    first_id: int
    last_id: int
    reason: str


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
class ServerTimeUnavailable:
    """The exchange's own clock cannot be read now."""


@attrs.frozen(slots=True)
class MinutesSettled:
    """The exchange's own klines of minutes in which no trade was seen, by open time.

    Such a bar has no trade ids. None: the exchange has later klines but none for this minute, because it was down.
    """

    symbol: str
    klines: dict[int, Bar | None]


@attrs.frozen(slots=True)
class StartFound:
    """The last trade before the first bar ever: fetching from there on completes that bar, and proves it."""

    symbol: str
    trade_id: int


@attrs.frozen(slots=True)
class TradeExists:
    """A trade id that the exchange has, learnt outside of its stream: all ids up to it are fetched."""

    symbol: str
    trade_id: int


@attrs.frozen(slots=True)
class NewestId:
    """The exchange states which trade id is its newest, as heartbeats do."""

    symbol: str
    trade_id: int
    """All ids up to it exist."""
    until: int
    """No trade before this time has a higher id, microseconds since the epoch."""


@attrs.frozen(slots=True)
class NewestIdsStated:
    """What the exchange states of its newest ids: finds trades that did not arrive, proves bars in silence."""

    stated: tuple[NewestId, ...]
    received: float
    """Local monotonic clock when that was read, seconds."""


@attrs.frozen(slots=True)
class LastTradeFound:
    """The exchange's newest trade of a symbol silent since its stream went live: its bars begin now."""

    symbol: str
    trade: Trade
    """Or the aggregate that it is part of."""


@attrs.frozen(slots=True)
class NewestTradeStated:
    """The exchange's newest trade of a symbol, asked for because ids came that cannot follow those known."""

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
    """Closed minutes of one symbol from the exchange's klines, after a long absence, oldest first.

    Each bar's ids are what counting gives; ``complete`` says whether they meet the known ids at both ends.
    """

    symbol: str
    bars: list[Bar]


@attrs.frozen(slots=True)
class MinutesLoaded:
    """Minutes that the engine asked for, read back from the history."""

    symbol: str
    interval: str
    """``1m``: a minute that left memory; longer: the minutes of a bar that is rebuilt."""
    open_time: int
    bars: list[Bar]
    """The newest revisions of those that have a bar, oldest first."""


@attrs.frozen(slots=True)
class SymbolAdded:
    """Start building bars of this symbol, continuing from the stored ones."""

    symbol: str
    bars: list[Bar] = attrs.field(factory=list)
    """Consecutive minutes, oldest first, from the oldest to be rebuilt to the newest; none if none is stored."""
    parts: list[Bar] = attrs.field(factory=list)
    """Closed bars of which longer ones are made, see ``Engine.part_ranges``."""
    disputed: list[Gap] = attrs.field(factory=list)
    """Trade ids that sources contradicted each other about, as far as is known."""


@attrs.frozen(slots=True)
class SymbolRemoved:
    """Stop building bars of this symbol; its forming bar is discarded."""

    symbol: str


@attrs.frozen(slots=True)
class DecimalsStated:
    """The exchange states a symbol's price tick and lot step, which decide whether its aggregates are exact."""

    symbol: str
    price: int
    """Decimals of the price tick."""
    quantity: int
    """Decimals of the lot step."""


@attrs.frozen(slots=True)
class MinutesCounted:
    """The exchange's final klines of consecutive closed minutes that lack trades, oldest first.

    They carry no trade ids: where their counts meet the known ids at both ends, no trade is missing in them.
    """

    symbol: str
    klines: list[Bar]


FeedEvent = (
    TradesArrived
    | TradesRepaired
    | TradesRefused
    | StreamLost
    | StreamLive
    | ServerTime
    | ServerTimeUnavailable
    | MinutesSettled
    | StartFound
    | TradeExists
    | NewestIdsStated
    | LastTradeFound
    | NewestTradeStated
    | RangeUnfillable
    | BarsFetched
    | MinutesLoaded
    | SymbolAdded
    | SymbolRemoved
    | DecimalsStated
    | MinutesCounted
)
