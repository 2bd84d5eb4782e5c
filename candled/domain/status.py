"""How a symbol fares, as a value that any part can show."""

from collections.abc import Mapping
from enum import Enum

import attrs

from candled.domain.bar import NO_TRADE


class GapState(Enum):
    """What became of a range of trade ids that was not seen."""

    OPEN = "open"
    FILLED = "filled"
    UNFILLABLE = "unfillable"


@attrs.frozen(slots=True)
class Gap:
    """Trade ids ``first_id..last_id`` of one symbol, both included, that were not seen, or not at first."""

    first_id: int
    last_id: int
    state: GapState
    reason: str
    """Why it cannot be filled, or what the repair waits for; nothing for one that was filled."""


@attrs.frozen(slots=True, kw_only=True)
class SymbolStatus:
    """One symbol at one moment. Times in microseconds since the epoch, prices in units of 10^-8."""

    symbol: str
    trading_status: str
    """The exchange's own word: TRADING, HALT, BREAK, ..."""
    live: bool
    """Its stream is connected and fresh."""
    last_trade_id: int = NO_TRADE
    last_trade_time: int | None = None
    last_price: int | None = None
    lag_ms: float = 0.0
    """Arrival of the newest trade after its exchange time."""
    reconnects: int = 0
    trades: int = 0
    duplicates: int = 0
    """Trades that came again and were not counted."""
    gaps: tuple[Gap, ...] = ()
    """Open and unfillable ones, and the newest of those that were filled."""
    gaps_found: int = 0
    gaps_filled: int = 0
    minutes_left: int = 0
    """Minutes that have ended and have no bar yet: what a catch-up still has to do."""


@attrs.frozen(slots=True, kw_only=True)
class DaemonStatus:
    """The daemon at one moment."""

    version: str
    start_time: int
    exchange: str
    """The exchange's identity, as the data directory records it."""
    exchange_time: int
    """Estimate of the exchange's present time."""
    not_ready_reasons: tuple[str, ...] = ()
    """Sentences; none when ready."""
    symbols: tuple[SymbolStatus, ...] = ()
    elsewhere: Mapping[str, str] = attrs.field(factory=dict)
    """Symbols that other daemons serve, and which."""
