"""How the daemon fares, gathered from the parts that are there."""

import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import Protocol

import trio

from candled.domain.bar import NO_TRADE
from candled.domain.status import DaemonStatus, SymbolStatus
from candled.engine.symbol import SymbolEngine
from candled.pipeline import Pipeline


class Keeper(Protocol):
    """What the history says of itself."""

    def not_ready_reason(self) -> str | None:
        """Why bars cannot be kept now."""


class Vitals:
    """Readiness and status; what every port of the daemon shows."""

    def __init__(self, elsewhere: Mapping[str, str]) -> None:
        self.stopping = False
        self.elsewhere = elsewhere
        """Symbols that other daemons serve, and which."""
        self.waiting = "The exchange was not reached yet."
        """Why no trades are read yet."""
        self._pipeline: Pipeline | None = None
        self._keeper: Keeper | None = None
        self._start_time = time.time_ns() // 1000
        self._version = version("candled")

    def keeping(self, keeper: Keeper) -> None:
        """The history is open."""
        self._keeper = keeper

    def reading(self, pipeline: Pipeline) -> None:
        """The exchange was reached, and its trades are read."""
        self._pipeline = pipeline

    def not_ready_reasons(self) -> tuple[str, ...]:
        """Sentences that say why nobody should rely on the daemon now; none when it is ready."""
        if self.stopping:
            return ("The daemon is stopping.",)
        if self._pipeline is None or self._keeper is None:
            return (self.waiting,)
        engine = self._pipeline.engine
        reasons = []
        cut_off = [symbol for symbol in engine.symbols if symbol not in engine.live]
        if cut_off:
            reasons.append(f"No stream is connected for {', '.join(cut_off[:10])}.")
        unwritable = self._keeper.not_ready_reason()
        if unwritable is not None:
            reasons.append(unwritable)
        return tuple(reasons)

    def status(self) -> DaemonStatus:
        """The daemon at this moment."""
        engine = self._pipeline.engine if self._pipeline else None
        return DaemonStatus(
            version=self._version,
            start_time=self._start_time,
            exchange=self._pipeline.listings.identity if self._pipeline else "",
            exchange_time=engine.time.now(trio.current_time()) if engine else 0,
            not_ready_reasons=self.not_ready_reasons(),
            symbols=tuple(self._symbol_status(symbol) for symbol in engine.symbols.values()) if engine else (),
            elsewhere=self.elsewhere,
        )

    def _symbol_status(self, symbol: SymbolEngine) -> SymbolStatus:
        assert self._pipeline is not None
        last = symbol.last_trade
        return SymbolStatus(
            symbol=symbol.symbol,
            trading_status=self._pipeline.listings.status(symbol.symbol),
            live=symbol.symbol in self._pipeline.engine.live,
            last_trade_id=last.last_id if last else NO_TRADE,
            last_trade_time=last.time if last else None,
            last_price=last.price if last else None,
            lag_ms=symbol.lag / 1000,
            reconnects=self._pipeline.feed.reconnects(symbol.symbol),
            trades=symbol.counts.trades,
            duplicates=symbol.counts.duplicates,
            gaps=symbol.continuity.gaps(),
            gaps_filled=symbol.counts.gaps_filled,
        )
