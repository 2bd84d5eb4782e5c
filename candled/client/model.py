"""What the client gives its users. Numbers are exact decimals, times are aware datetimes in UTC."""

from datetime import datetime
from decimal import Decimal
from enum import Enum

import attrs


class ClientError(Exception):
    """A call failed, or a stream ended for good.

    Attributes:
        code: the gRPC status by name, such as ``NOT_FOUND``; ``UNAVAILABLE`` where no daemon answers.
        text: one sentence that says what to change.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{text} ({code})")
        self.code = code
        self.text = text


class Kind(Enum):
    """Why a message came."""

    SNAPSHOT = "snapshot"
    UPDATE = "update"
    CLOSE = "close"
    REVISION = "revision"
    HEARTBEAT = "heartbeat"


@attrs.frozen(slots=True, kw_only=True)
class Bar:
    """One bar (candle): what was traded from ``open_time`` up to, not including, ``close_time``."""

    symbol: str
    interval: str
    open_time: datetime
    close_time: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    """Base asset."""
    quote_volume: Decimal
    trade_count: int
    taker_buy_volume: Decimal
    taker_buy_quote_volume: Decimal
    first_trade_id: int | None
    """None in a bar without trades."""
    last_trade_id: int | None
    closed: bool
    complete: bool
    """Proven by trade ids: no trade is missing."""
    revision: int

    @property
    def vwap(self) -> Decimal | None:
        """Average price weighted by volume, in the decimal context's precision; None without trades."""
        return self.quote_volume / self.volume if self.volume else None


@attrs.frozen(slots=True, kw_only=True)
class Message:
    """One message of a stream."""

    kind: Kind
    bar: Bar | None
    """None in a HEARTBEAT."""
    sequence: int
    """Counts from 1 again after a reconnect."""
    exchange_time: datetime | None
    """Exchange's time of the trade or of the close behind it."""
    send_time: datetime
    """When the daemon sent it."""
    resume_token: str
    """With CLOSE and REVISION: pass it to ``stream_bars`` to go on after this message."""


@attrs.frozen(slots=True, kw_only=True)
class Symbol:
    """A symbol served."""

    symbol: str
    status: str
    """The exchange's own word: TRADING, HALT, BREAK, ..."""


class GapState(Enum):
    """What became of trade ids that were not seen."""

    OPEN = "open"
    """The repair is under way."""
    FILLED = "filled"
    UNFILLABLE = "unfillable"
    """The exchange does not have them: bars that touch them stay incomplete."""


@attrs.frozen(slots=True, kw_only=True)
class Gap:
    """Trade ids that were not seen, or not at first."""

    first_trade_id: int
    last_trade_id: int
    state: GapState
    reason: str
    """Why it cannot be filled, or what the repair waits for."""


@attrs.frozen(slots=True, kw_only=True)
class SymbolStatus:
    """How one symbol fares."""

    symbol: str
    status: str
    live: bool
    last_trade_id: int | None
    last_trade_time: datetime | None
    last_price: Decimal | None
    lag_ms: float
    reconnects: int
    trades: int
    duplicates: int
    gaps: tuple[Gap, ...]
    """Open and unfillable ones, and the newest of those that were filled."""
    gaps_filled: int
    minutes_left: int = 0
    """Minutes that have ended and have no bar yet: what a catch-up still has to do."""


@attrs.frozen(slots=True, kw_only=True)
class Status:
    """How the daemon fares."""

    version: str
    start_time: datetime
    exchange: str
    exchange_time: datetime
    ready: bool
    not_ready_reasons: tuple[str, ...]
    symbols: tuple[SymbolStatus, ...]
    subscribers: int
