"""What the engine shows of itself: frozen values for status, metrics and logs."""

from collections.abc import Mapping

import attrs

from candled.domain.bar import NO_TRADE
from candled.domain.refusal import TimeRefusal
from candled.domain.status import Gap
from candled.engine.exchange_time import TimeStatistics


@attrs.frozen(slots=True, kw_only=True)
class SymbolStatistics:
    """One symbol at one moment. Times in microseconds, prices in units of 10^-8, counts since the start."""

    symbol: str
    live: bool
    """Its stream is connected."""
    last_trade_id: int = NO_TRADE
    last_trade_time: int | None = None
    last_price: int | None = None
    lag: int = 0
    """Arrival of the newest trade after its exchange time."""
    trades: int = 0
    duplicates: int = 0
    overlaps: int = 0
    """Aggregates not applied because part of their ids had been seen."""
    inexact: int = 0
    """Aggregates not applied because they need not sum up like their fills."""
    ids_refused: int = 0
    """Trades not counted because their ids cannot follow those known."""
    closes: int = 0
    incomplete_closes: int = 0
    revisions: int = 0
    gaps: tuple[Gap, ...] = ()
    """Open and unfillable ones, and the newest of those that were filled, by id."""
    gaps_found: int = 0
    gaps_filled: int = 0
    minutes_left: int = 0
    """Minutes that have ended and have no bar yet."""


@attrs.frozen(slots=True, kw_only=True)
class EngineStatistics:
    """All symbols at one moment."""

    symbols: tuple[SymbolStatistics, ...]
    unknown_trades: int
    """Trades of symbols that no bars are made of."""
    id_epochs: Mapping[str, int]
    """Resets of trade ids, by symbol; only symbols that had any."""
    misdated_trades: Mapping[TimeRefusal, int]
    """Trades that were not counted as they came because of their time, by what is wrong with it."""
    held_trades: int
    """Trades that wait until sources agree that it is as late as they say."""
    time: TimeStatistics
