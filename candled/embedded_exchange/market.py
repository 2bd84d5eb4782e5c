"""The interface of a market: fills with ids, in blocks with random access."""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import attrs
import msgspec

MINUTE: Final = 60_000_000
"""Microseconds."""

DAY: Final = 1440 * MINUTE

NO_ID: Final = -1
"""First and last trade id of a placeholder aggregate and of an empty kline, as the original writes them."""


class Fill(msgspec.Struct, frozen=True, gc=False):
    """One fill of a taker's order. Fills of one aggregate follow each other with the same price, time and side.

    Only in a recording of aggregates does a fill cover several ids, because single fills were not recorded.
    """

    first_id: int
    last_id: int
    aggregate_id: int
    price: int
    """Units of 10^-8; 0 in a placeholder, which takes ids but is no trade."""
    quantity: int
    """Units of 10^-8."""
    time: int
    """Microseconds since the epoch."""
    buyer_is_maker: bool

    @property
    def is_placeholder(self) -> bool:
        """Whether it takes an id but is no trade."""
        return self.price == 0 or self.quantity == 0


@attrs.frozen(slots=True)
class SymbolRules:
    """A symbol's rules in ``exchangeInfo``. Steps in units of 10^-8."""

    symbol: str
    base_asset: str
    quote_asset: str
    tick_size: int
    step_size: int


class Market(Protocol):
    """Every fill of every symbol, past and future. A block has the fills of a range of time, in order of id.

    Blocks of a symbol are numbered in time order; each lies in a single minute, and ids rise from block to block.
    """

    @property
    def identity(self) -> str:
        """Which market this is: the same identity means the same fills."""

    @property
    def symbols(self) -> Mapping[str, SymbolRules]:
        """Every symbol traded here."""

    def block(self, symbol: str, index: int) -> Sequence[Fill]:
        """Return the fills of one block; none where nothing was traded or no such block is."""

    def block_start(self, symbol: str, index: int) -> int:
        """Return the time at which a block begins."""

    def block_at(self, symbol: str, time: int) -> int:
        """Return the index of the block that holds ``time``, within the bounds of ``blocks``."""

    def block_of_trade(self, symbol: str, trade_id: int) -> int:
        """Return the index of the block that holds the trade id, or of the one that it would come before."""

    def block_of_aggregate(self, symbol: str, aggregate_id: int) -> int:
        """Return the index of the block that holds the aggregate id, or of the one that it would come before."""

    def blocks(self, symbol: str) -> range:
        """Return all block indexes of a symbol."""

    def is_trading(self, symbol: str, start: int, end: int) -> bool:
        """Return whether the symbol could be traded at any time with ``start <= time < end``."""

    def has_kline(self, symbol: str, start: int, end: int) -> bool:
        """Return whether a kline can be made: every trade of the range is known and the market was open in it."""
