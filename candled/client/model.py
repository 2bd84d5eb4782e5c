"""Values that the client returns. Numbers are exact decimals, times are aware datetimes in UTC."""

from datetime import datetime
from decimal import Decimal
from enum import Enum

import attrs


class ClientError(Exception):
    """A call failed, or a stream ended for good. Raised as the subclass of its code, where there is one.

    Attributes:
        code: the gRPC status by name, such as ``NOT_FOUND``; ``UNAVAILABLE`` where no daemon answers.
        text: one sentence that names what to change.

    Example:
        ```python
        try:
            client.get_bars("BTCUSDX")
        except NotFoundError as error:
            print(error.code, error.text)
        ```
    """

    def __new__(cls, code: str, text: str) -> "ClientError":
        """Make an error of the subclass that ``code`` has."""
        kind = _ERRORS.get(code, cls) if cls is ClientError else cls
        return super().__new__(kind, code, text)

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{text} ({code})")
        self.code = code
        self.text = text


class NotFoundError(ClientError):
    """The daemon does not serve this symbol (NOT_FOUND)."""


class InvalidArgumentError(ClientError):
    """An argument is outside its range; the text says what to change (INVALID_ARGUMENT)."""


class UnauthenticatedError(ClientError):
    """The token is missing or not accepted (UNAUTHENTICATED)."""


class UnavailableError(ClientError):
    """No daemon answers, or the connection broke (UNAVAILABLE)."""


class ResourceExhaustedError(ClientError):
    """Too many requests or streams, or a stream that was read too slowly (RESOURCE_EXHAUSTED)."""


class DeadlineExceededError(ClientError):
    """The daemon did not answer in time (DEADLINE_EXCEEDED)."""


_ERRORS: dict[str, type[ClientError]] = {
    "NOT_FOUND": NotFoundError,
    "INVALID_ARGUMENT": InvalidArgumentError,
    "UNAUTHENTICATED": UnauthenticatedError,
    "UNAVAILABLE": UnavailableError,
    "RESOURCE_EXHAUSTED": ResourceExhaustedError,
    "DEADLINE_EXCEEDED": DeadlineExceededError,
}


class Kind(Enum):
    """Why a message was sent."""

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
    """One message of a stream: a bar as it is now."""

    kind: Kind
    """Never HEARTBEAT."""
    bar: Bar
    sequence: int
    """Counts from 1 again after a reconnect."""
    exchange_time: datetime | None
    """Exchange's time of the trade or of the close behind it."""
    send_time: datetime
    """When the daemon sent it."""
    resume_token: str
    """With CLOSE and REVISION: pass it to ``stream_bars`` to continue after this message."""


@attrs.frozen(slots=True, kw_only=True)
class Heartbeat:
    """A sign of life after 15 s without a bar. Streams yield it only with ``heartbeats=True``."""

    sequence: int
    exchange_time: datetime | None
    send_time: datetime

    @property
    def kind(self) -> Kind:
        """HEARTBEAT."""
        return Kind.HEARTBEAT


@attrs.frozen(slots=True, kw_only=True)
class Symbol:
    """A symbol served."""

    symbol: str
    status: str
    """The exchange's own term: TRADING, HALT, BREAK, ..."""


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
    """Why it cannot be filled, or what the repair is waiting for."""


@attrs.frozen(slots=True, kw_only=True)
class SymbolStatus:
    """Status of one symbol."""

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
    """Open and unfillable gaps, and the newest of the filled ones."""
    gaps_filled: int
    minutes_left: int = 0
    """Minutes that have ended and have no bar yet: the remaining work of a catch-up."""


@attrs.frozen(slots=True, kw_only=True)
class Ingester:
    """One of the processes that read the exchange, where several share the work."""

    name: str
    rank: int
    """Each publishes what those of lower rank did not."""
    ready: bool
    symbols: int
    """How many it builds."""


@attrs.frozen(slots=True, kw_only=True)
class Status:
    """Status of the daemon."""

    version: str
    start_time: datetime
    exchange: str
    exchange_time: datetime
    ready: bool
    not_ready_reasons: tuple[str, ...]
    notices: tuple[str, ...] = ()
    """Sentences that an operator should know though the daemon may be ready."""
    symbols: tuple[SymbolStatus, ...]
    subscribers: int
    process: str = ""
    """Name of the process that answered, where several share the work."""
    ingesters: tuple[Ingester, ...] = ()
    """Those that report to this process, lowest rank first."""
