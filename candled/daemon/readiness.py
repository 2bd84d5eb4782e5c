"""Readiness and status of the daemon, read from its lifecycle and from the parts that exist."""

from collections.abc import Collection, Mapping
from typing import Final

import attrs
import trio

from candled.daemon.lifecycle import Lifecycle, Phase
from candled.daemon.pipeline import Pipeline
from candled.domain.interval import MICROSECONDS
from candled.domain.status import DaemonStatus, Gap, GapState, SymbolStatus
from candled.engine.exchange_time import TimeStatistics
from candled.engine.statistics import SymbolStatistics
from candled.engine.time_sources import SERVER, Disagreement, Quarantine

_NAMED_SYMBOLS_MAX: Final = 10
"""Symbols that one sentence names."""


_BEHIND_SECONDS: Final = 120.0
"""Seconds that the object store may be behind before status says so: two publications."""


class Readiness:
    """What the health endpoints, ``GetStatus`` and the chart show of the daemon."""

    def __init__(self, lifecycle: Lifecycle, elsewhere: Mapping[str, str]) -> None:
        """Read from ``lifecycle``; ``elsewhere``: symbols that other daemons serve, and which daemon."""
        self._lifecycle = lifecycle
        self._elsewhere = elsewhere

    def set_elsewhere(self, elsewhere: Mapping[str, str]) -> None:
        """Replace the symbols that other daemons serve, after a reload."""
        self._elsewhere = elsewhere

    def not_ready_reasons(self) -> tuple[str, ...]:
        """Return sentences that say why nobody should rely on the daemon now; none when it is ready."""
        phase, reason = self._lifecycle.phase, self._lifecycle.reason
        match phase:
            case Phase.LIVE:
                return self._live_reasons()
            case Phase.STOPPING:
                return ("The daemon is stopping.",)
            case _:
                said = (f"The daemon is starting: {phase.value}.", reason, self._lifecycle.about)
                return tuple(sentence for sentence in said if sentence)

    def _live_reasons(self) -> tuple[str, ...]:
        pipeline, serving = self._lifecycle.pipeline, self._lifecycle.serving
        assert pipeline is not None
        assert serving is not None
        engine = pipeline.engine
        reasons = []
        if not engine.time.known:
            reasons.append(engine.time.why_unknown())
        cut_off = [symbol for symbol in engine.symbols if symbol not in engine.live]
        if cut_off:
            more = f" and {len(cut_off) - _NAMED_SYMBOLS_MAX} more" if len(cut_off) > _NAMED_SYMBOLS_MAX else ""
            failures = "; ".join(f"{url}: {reason}" for url, reason in pipeline.feed.connect_failures.items())
            named = f"{', '.join(cut_off[:_NAMED_SYMBOLS_MAX])}{more}"
            reasons.append(f"No stream is connected for {named}{f' ({failures})' if failures else ''}.")
        unwritable = serving.unwritable_reason()
        if unwritable is not None:
            reasons.append(unwritable)
        return tuple(reasons)

    def status(self, names: Collection[str] | None = None) -> DaemonStatus:
        """Return the daemon's state at this moment; it takes 15 µs for each symbol.

        Args:
            names: symbols whose states it is to have; None: all.
        """
        pipeline = self._lifecycle.pipeline
        summary = self.summary()
        if pipeline is None:
            return summary
        engine = pipeline.engine
        symbols = [
            symbol.statistics(live=name in engine.live)
            for name, symbol in engine.symbols.items()
            if names is None or name in names
        ]
        return attrs.evolve(summary, symbols=tuple(_symbol_status(pipeline, symbol) for symbol in symbols))

    def summary(self) -> DaemonStatus:
        """Return the state without its symbols, for what is looked at with each request."""
        pipeline = self._lifecycle.pipeline
        engine = pipeline.engine if pipeline else None
        return DaemonStatus(
            version=self._lifecycle.version,
            start_time=self._lifecycle.start_time,
            phase=self._lifecycle.phase.value,
            exchange=pipeline.listings.identity if pipeline else "",
            exchange_time=engine.time.now(trio.current_time()) if engine else 0,
            notices=(*(_notices(pipeline.engine.time.statistics()) if pipeline else ()), *self._upload_notices()),
            not_ready_reasons=self.not_ready_reasons(),
            elsewhere=self._elsewhere,
        )

    def _upload_notices(self) -> tuple[str, ...]:
        """Say that the copy in the object store is behind, or not kept any more."""
        serving = self._lifecycle.serving
        if serving is None or serving.upload_statistics is None:
            return ()
        upload = serving.upload_statistics()
        if upload.fenced:
            return (upload.problem or "",)
        if upload.behind_seconds < _BEHIND_SECONDS:
            return ()
        why = upload.problem or f"{upload.files_waiting} files are being put."
        return (f"The history in {upload.url} is {upload.behind_seconds:,.0f} s behind: {why}",)


def _notices(time: TimeStatistics) -> tuple[str, ...]:
    """Name the sources of time in quarantine."""
    named = time.quarantined[:_NAMED_SYMBOLS_MAX]
    notices = tuple(_notice(each) for each in named)
    if more := len(time.quarantined) - len(named):
        return (*notices, f"The same holds for {more} more sources of time.")
    return notices


def _notice(quarantine: Quarantine) -> str:
    source = "The exchange's clock" if quarantine.source == SERVER else f"The stream of {quarantine.source}"
    if quarantine.reason is Disagreement.IMPOSSIBLE:
        return f"{source} states {quarantine.reason.value}: it is not believed."
    seconds = abs(quarantine.offset) / MICROSECONDS
    return f"{source} is {seconds:,.1f} s {quarantine.reason.value}: it is not believed."


def _symbol_status(pipeline: Pipeline, symbol: SymbolStatistics) -> SymbolStatus:
    return SymbolStatus(
        symbol=symbol.symbol,
        trading_status=pipeline.listings.status(symbol.symbol),
        live=symbol.live,
        last_trade_id=symbol.last_trade_id,
        last_trade_time=symbol.last_trade_time,
        last_price=symbol.last_price,
        lag_ms=symbol.lag / 1000,
        reconnects=pipeline.feed.reconnects(symbol.symbol),
        trades=symbol.trades,
        duplicates=symbol.duplicates,
        gaps=tuple(_with_reason(pipeline, symbol.symbol, gap) for gap in symbol.gaps),
        gaps_found=symbol.gaps_found,
        gaps_filled=symbol.gaps_filled,
        minutes_left=symbol.minutes_left,
    )


def _with_reason(pipeline: Pipeline, symbol: str, gap: Gap) -> Gap:
    """Add to an open gap what its repair waits for."""
    if gap.state is not GapState.OPEN:
        return gap
    if not pipeline.listings.is_listed(symbol):
        return attrs.evolve(gap, reason="the exchange does not have this symbol any more")
    doing = pipeline.repairer.trouble(symbol) or "being fetched"
    return attrs.evolve(gap, reason=f"{gap.reason}; {doing}" if gap.reason else doing)
