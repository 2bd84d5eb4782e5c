"""A market with faults in itself: placeholders, ids that do not exist, halted symbols."""

from collections.abc import Mapping, Sequence

import attrs
import msgspec

from candled.exchange.faults import chance
from candled.exchange.market import Fill, Market, SymbolRules


@attrs.define(slots=True)
class _Halt:
    """A stretch without trades. What the market would have traded never happens: later ids move up."""

    start: int
    first_trade: int
    first_aggregate: int
    """Ids that the first trade left out would have had, in the market beneath."""
    end: int | None = None
    trades: int = 0
    aggregates: int = 0
    """How many are left out in all, once it has ended."""


@attrs.define(slots=True)
class _Spell:
    """A stretch of time in which so many aggregates are not what they were."""

    name: str
    rate: float
    start: int
    end: int | None = None

    def holds(self, time: int) -> bool:
        return self.start <= time and (self.end is None or time < self.end)


class AlteredMarket:
    """The market beneath, less what faults take from it. What has happened never changes afterwards."""

    def __init__(self, market: Market, seed: int) -> None:
        """Nothing is altered yet; what will be is drawn from ``seed``."""
        self._market = market
        self._seed = seed
        self._halts: dict[str, list[_Halt]] = {}
        self._spells: list[_Spell] = []

    @property
    def identity(self) -> str:
        """That of the market beneath."""
        return self._market.identity

    @property
    def symbols(self) -> Mapping[str, SymbolRules]:
        """Those of the market beneath."""
        return self._market.symbols

    def set_rate(self, name: str, rate: float, time: int) -> None:
        """From ``time`` on, draw so many aggregates for the fault ``placeholder`` or ``skip``; 0 ends it."""
        for spell in self._spells:
            if spell.name == name and spell.end is None:
                spell.end = time
        if rate:
            self._spells.append(_Spell(name, rate, time))

    def halt(self, symbol: str, time: int) -> None:
        """End trading of a symbol from ``time`` on, which must not be in the past."""
        halts = self._halts.setdefault(symbol, [])
        if not halts or halts[-1].end is not None:
            halts.append(_Halt(time, *self._ids_at(symbol, time)))

    def resume(self, symbol: str, time: int) -> None:
        """Let a halted symbol be traded again from ``time`` on."""
        halts = self._halts.get(symbol)
        if halts and halts[-1].end is None:
            halt = halts[-1]
            trade, aggregate = self._ids_at(symbol, time)
            halt.end = time
            halt.trades, halt.aggregates = trade - halt.first_trade, aggregate - halt.first_aggregate

    def blocks(self, symbol: str) -> range:
        """Those of the market beneath."""
        return self._market.blocks(symbol)

    def block_start(self, symbol: str, index: int) -> int:
        """That of the market beneath."""
        return self._market.block_start(symbol, index)

    def block_at(self, symbol: str, time: int) -> int:
        """That of the market beneath."""
        return self._market.block_at(symbol, time)

    def block_of_trade(self, symbol: str, trade_id: int) -> int:
        """Index of the block that holds the trade id."""
        for halt in self._halts.get(symbol, ()):
            if trade_id >= halt.first_trade:
                if halt.end is None:
                    return self._market.block_at(symbol, halt.start)
                trade_id += halt.trades
        return self._market.block_of_trade(symbol, trade_id)

    def block_of_aggregate(self, symbol: str, aggregate_id: int) -> int:
        """Index of the block that holds the aggregate id."""
        for halt in self._halts.get(symbol, ()):
            if aggregate_id >= halt.first_aggregate:
                if halt.end is None:
                    return self._market.block_at(symbol, halt.start)
                aggregate_id += halt.aggregates
        return self._market.block_of_aggregate(symbol, aggregate_id)

    def block(self, symbol: str, index: int) -> Sequence[Fill]:
        """The fills of one block, less what did not happen."""
        start, end = self.block_start(symbol, index), self.block_start(symbol, index + 1)
        halts = self._halts.get(symbol, ())
        if any(halt.start <= start and (halt.end is None or end <= halt.end) for halt in halts):
            return ()
        fills = self._market.block(symbol, index)
        if halts:
            fills = [moved for fill in fills if (moved := _moved(fill, halts)) is not None]
        for spell in self._spells:
            if spell.start < end and (spell.end is None or spell.end > start):
                fills = self._under(spell, symbol, fills)
        return fills

    def _under(self, spell: _Spell, symbol: str, fills: Sequence[Fill]) -> list[Fill]:
        altered = []
        for fill in fills:
            is_drawn = chance(self._seed, spell.name, symbol, fill.aggregate_id) < spell.rate
            if not is_drawn or not spell.holds(fill.time):
                altered.append(fill)
            elif spell.name == "placeholder":
                altered.append(msgspec.structs.replace(fill, price=0, quantity=0))
        return altered

    def is_trading(self, symbol: str, start: int, end: int) -> bool:
        """Whether the symbol could be traded at some time of this stretch."""
        halted = any(
            halt.start <= start and (halt.end is None or end <= halt.end) for halt in self._halts.get(symbol, ())
        )
        return not halted and self._market.is_trading(symbol, start, end)

    def has_kline(self, symbol: str, start: int, end: int) -> bool:
        """Whether the market beneath has one and the symbol was not halted all the while."""
        return self.is_trading(symbol, start, end) and self._market.has_kline(symbol, start, end)

    def _ids_at(self, symbol: str, time: int) -> tuple[int, int]:
        """Trade and aggregate id, in the market beneath, of its first fill at or after ``time``."""
        market = self._market
        ids = (0, 0)
        for index in range(market.block_at(symbol, time), market.blocks(symbol).stop):
            for fill in market.block(symbol, index):
                if fill.time >= time:
                    return fill.first_id, fill.aggregate_id
                ids = fill.last_id + 1, fill.aggregate_id + 1
        return ids


def _moved(fill: Fill, halts: Sequence[_Halt]) -> Fill | None:
    """The fill with the ids it has when halts left some out before it; None when it is left out itself."""
    trades = aggregates = 0
    for halt in halts:
        if fill.first_id < halt.first_trade:
            break
        if halt.end is None or fill.time < halt.end:
            return None
        trades += halt.trades
        aggregates += halt.aggregates
    if not trades:
        return fill
    return msgspec.structs.replace(
        fill,
        first_id=fill.first_id - trades,
        last_id=fill.last_id - trades,
        aggregate_id=fill.aggregate_id - aggregates,
    )
