"""Status of a symbol and of the daemon, as values that every output shows."""

from collections.abc import Iterable, Mapping
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
    """Why it cannot be filled; or why its trades were refused, and what the repair is waiting for."""
    is_disputed: bool = False
    """Whether sources contradict each other about these trades: they prove nothing, whatever else is stated."""


@attrs.frozen(slots=True, kw_only=True)
class SymbolStatus:
    """One symbol at one moment. Times in microseconds since the epoch, prices in units of 10^-8."""

    symbol: str
    trading_status: str
    """The exchange's own term: TRADING, HALT, BREAK, ..."""
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
    """Duplicate trades, which were not counted."""
    gaps: tuple[Gap, ...] = ()
    """Open and unfillable gaps, and the newest of the filled ones."""
    gaps_found: int = 0
    gaps_filled: int = 0
    minutes_left: int = 0
    """Minutes that have ended and have no bar yet: the remaining work of a catch-up."""


@attrs.frozen(slots=True)
class IngesterSummary:
    """One of the processes that read the exchange, by its newest report."""

    name: str
    rank: int
    is_ready: bool
    symbols: int
    """How many it builds."""


@attrs.frozen(slots=True, kw_only=True)
class DaemonStatus:
    """The daemon at one moment."""

    version: str
    start_time: int
    phase: str = ""
    """The current phase: waiting for the exchange, backfilling, live, ..."""
    exchange: str
    """The exchange's identity, as the data directory records it."""
    exchange_time: int
    """Estimate of the exchange's present time."""
    notices: tuple[str, ...] = ()
    """Sentences that an operator should know though the daemon may be ready."""
    not_ready_reasons: tuple[str, ...] = ()
    """Sentences; none when ready."""
    symbols: tuple[SymbolStatus, ...] = ()
    elsewhere: Mapping[str, str] = attrs.field(factory=dict)
    """Symbols that other daemons serve, with each one's daemon."""
    process: str = ""
    """Name of this process, where several share the work."""
    ingesters: tuple[IngesterSummary, ...] = ()
    """Those that report to this process, lowest rank first."""

    def redirects(self, symbols: Iterable[str]) -> str:
        """Name the daemon that serves each symbol of another shard, for the text of a refusal.

        Args:
            symbols: what a client asked for.

        Returns:
            One sentence for each symbol found, each followed by a space; empty if none is served elsewhere.
        """
        return "".join(
            f"{name} is served by {self.elsewhere[name]}. " for name in symbols if name in self.elsewhere
        )
