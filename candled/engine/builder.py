"""The seam for bars of any kind: what is built of trades once their ids are accounted for."""

from collections.abc import Callable
from typing import Protocol

from candled.domain.event import BarEvent
from candled.domain.trade import Trade
from candled.engine.coverage import Coverage


class BarBuilder(Protocol):
    """Builds one kind of bar of one symbol.

    Trades come in any order, each once: duplicates, overlaps and aggregates that are not exact have been left out
    before. Placeholders come too, as they take ids. Which ids are still missing is asked of the ``Coverage``.
    A builder appends its events, and never asks for a clock: times come in as arguments.
    """

    def add(self, trade: Trade, events: list[BarEvent]) -> None:
        """Count a trade that was not counted before."""

    def settle(self, exchange_time: int, events: list[BarEvent]) -> None:
        """After a batch: emit what is decided now, each change once."""

    def advance(self, ended: int, exchange_time: int, events: list[BarEvent]) -> None:
        """Let time up to ``ended`` be over by the exchange's clock, with nothing more of it to come."""


MakeBuilder = Callable[[str, Coverage], BarBuilder]
"""Makes a builder of one symbol, on top of what its trades cover."""
