"""What a repair works with: where to ask, what is missing, where results go."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import attrs

from candled.domain.feed_event import FeedEvent
from candled.feed.adapter import Capabilities, Instrument, TradeSource

Submit = Callable[[FeedEvent], Awaitable[None]]
"""Hands an event to the engine and returns when it was handled."""


class MissingData(Protocol):
    """What the engine lacks, by symbol: it shrinks as events arrive that fill it."""

    def symbols(self) -> list[str]:
        """Symbols that lack something."""

    def missing(self, symbol: str) -> list[tuple[int, int]]:
        """Ranges of trade ids that were not seen."""

    def unsettled(self, symbol: str) -> list[tuple[int, int]]:
        """Ranges of minutes, by first and last open time, whose klines decide whether they were empty."""

    def wanted_start(self, symbol: str) -> int | None:
        """Open time of the first minute ever, while the last trade before it is not known."""

    def forming_from(self, symbol: str) -> int | None:
        """Lowest trade id known of a minute that has not closed."""

    def countable(self, symbol: str) -> list[tuple[int, int]]:
        """Runs of closed minutes, by first and last open time, whose klines may account for the ids they lack."""

    def has_candidate(self, symbol: str) -> bool:
        """Whether trades came whose ids cannot follow those known, so that the newest trade is wanted."""

    def time_before(self, symbol: str, trade_id: int) -> int | None:
        """A time at which the trade of this id had not happened yet, as late as is known, microseconds."""

    def is_live(self, symbol: str) -> bool:
        """Whether a connection carries the symbol's stream."""


@attrs.define(slots=True)
class RepairCounts:
    """Totals since the start."""

    pages: int = 0
    trades: int = 0
    klines: int = 0
    failures: int = 0
    unfillable: int = 0


@attrs.frozen(kw_only=True)
class RepairContext:
    """What every symbol's repair shares."""

    source: TradeSource
    capabilities: Capabilities
    missing_data: MissingData
    submit: Submit
    instruments: Mapping[str, Instrument]
    reads_aggregates: Callable[[Instrument], bool]
    """Whether a symbol's stream is one of aggregates."""
    counts: RepairCounts = attrs.Factory(RepairCounts)
