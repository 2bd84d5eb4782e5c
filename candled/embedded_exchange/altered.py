"""A market with faults of its own: placeholders, ids that do not exist, halted symbols."""

from collections.abc import Mapping, Sequence

import attrs
import msgspec

from candled.embedded_exchange.faults import chance
from candled.embedded_exchange.market import Fill, Market, SymbolRules


@attrs.define(slots=True)
class _Halt:
    """A range of time without trades. The market's trades in it never happen, and later ids move up."""

    start: int
    first_trade: int
    first_aggregate: int
    """Ids, in the market beneath, of the first trade that is left out."""
    end: int | None = None
    trades: int = 0
    aggregates: int = 0
    """Number of ids left out, once it has ended."""


@attrs.frozen(slots=True)
class _Reset:
    """When ids were reset to 0; nothing is left of what was traded before."""

    time: int
    first_trade: int
    first_aggregate: int
    """Ids that the first trade after it would have had."""


@attrs.define(slots=True)
class _Spell:
    """A range of time in which a share of the aggregates is altered."""

    name: str
    rate: float
    start: int
    end: int | None = None

    def holds(self, time: int) -> bool:
        return self.start <= time and (self.end is None or time < self.end)


class AlteredMarket:
    """The market beneath, with faults applied. The past never changes."""

    def __init__(self, market: Market, seed: int) -> None:
        """Start unaltered; later alterations are drawn from ``seed``."""
        self._market = market
        self._seed = seed
        self._halts: dict[str, list[_Halt]] = {}
        self._resets: dict[str, _Reset] = {}
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
        """Apply the fault ``placeholder`` or ``skip`` to this share of aggregates from ``time`` on; 0 ends it."""
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
        """Resume trading of a halted symbol from ``time`` on."""
        halts = self._halts.get(symbol)
        if halts and halts[-1].end is None:
            halt = halts[-1]
            trade, aggregate = self._ids_at(symbol, time)
            halt.end = time
            halt.trades, halt.aggregates = trade - halt.first_trade, aggregate - halt.first_aggregate

    def reset_ids(self, symbol: str, time: int) -> None:
        """Reset the ids of a symbol to 0 at ``time``, and forget all of its trades before that."""
        before = self._resets.pop(symbol, None)
        ids = next(
            (
                (fill.first_id, fill.aggregate_id)
                for index in range(self.block_at(symbol, time), self.blocks(symbol).stop)
                for fill in self.block(symbol, index)
                if fill.time >= time
            ),
            None,
        )
        if ids is not None:
            self._resets[symbol] = _Reset(time, *ids)
        elif before is not None:
            self._resets[symbol] = before

    def blocks(self, symbol: str) -> range:
        """Return those of the market beneath."""
        return self._market.blocks(symbol)

    def block_start(self, symbol: str, index: int) -> int:
        """Return that of the market beneath."""
        return self._market.block_start(symbol, index)

    def block_at(self, symbol: str, time: int) -> int:
        """Return that of the market beneath."""
        return self._market.block_at(symbol, time)

    def block_of_trade(self, symbol: str, trade_id: int) -> int:
        """Return the index of the block that holds the trade id."""
        if (reset := self._resets.get(symbol)) is not None:
            trade_id += reset.first_trade
        for halt in self._halts.get(symbol, ()):
            if trade_id >= halt.first_trade:
                if halt.end is None:
                    return self._market.block_at(symbol, halt.start)
                trade_id += halt.trades
        return self._market.block_of_trade(symbol, trade_id)

    def block_of_aggregate(self, symbol: str, aggregate_id: int) -> int:
        """Return the index of the block that holds the aggregate id."""
        if (reset := self._resets.get(symbol)) is not None:
            aggregate_id += reset.first_aggregate
        for halt in self._halts.get(symbol, ()):
            if aggregate_id >= halt.first_aggregate:
                if halt.end is None:
                    return self._market.block_at(symbol, halt.start)
                aggregate_id += halt.aggregates
        return self._market.block_of_aggregate(symbol, aggregate_id)

    def block(self, symbol: str, index: int) -> Sequence[Fill]:
        """Return the fills of one block, without those that faults removed."""
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
        reset = self._resets.get(symbol)
        return fills if reset is None else _since_reset(reset, fills)

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
        """Return whether the symbol could be traded at some time of this range."""
        halted = any(
            halt.start <= start and (halt.end is None or end <= halt.end) for halt in self._halts.get(symbol, ())
        )
        return not halted and self._market.is_trading(symbol, start, end)

    def has_kline(self, symbol: str, start: int, end: int) -> bool:
        """Return whether the market beneath has a kline and the symbol was traded for part of this range."""
        reset = self._resets.get(symbol)
        is_left = reset is None or end > reset.time
        return is_left and self.is_trading(symbol, start, end) and self._market.has_kline(symbol, start, end)

    def _ids_at(self, symbol: str, time: int) -> tuple[int, int]:
        """Return the trade and aggregate id, in the market beneath, of its first fill at or after ``time``."""
        market = self._market
        ids = (0, 0)
        for index in range(market.block_at(symbol, time), market.blocks(symbol).stop):
            for fill in market.block(symbol, index):
                if fill.time >= time:
                    return fill.first_id, fill.aggregate_id
                ids = fill.last_id + 1, fill.aggregate_id + 1
        return ids


def _since_reset(reset: _Reset, fills: Sequence[Fill]) -> list[Fill]:
    """Return the fills since a reset, with their ids from 0 on."""
    return [
        msgspec.structs.replace(
            fill,
            first_id=fill.first_id - reset.first_trade,
            last_id=fill.last_id - reset.first_trade,
            aggregate_id=fill.aggregate_id - reset.first_aggregate,
        )
        for fill in fills
        if fill.time >= reset.time
    ]


def _moved(fill: Fill, halts: Sequence[_Halt]) -> Fill | None:
    """Return the fill with its ids shifted by the halts before it; None if a halt left it out."""
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
