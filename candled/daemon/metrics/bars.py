"""The tables of metrics of the daemon, its symbols and their bars."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from candled.daemon.lifecycle import Phase
from candled.domain.refusal import TimeRefusal
from candled.domain.status import DaemonStatus, GapState, SymbolStatus
from candled.engine.exchange_time import TimeStatistics
from candled.engine.statistics import EngineStatistics, SymbolStatistics
from candled.engine.time_sources import SERVER
from candled.feed.adapter import TRADING
from candled.telemetry.table import Metric, Sample, by_label, one


def _each(read: Callable[[SymbolStatus], float | None]) -> Callable[[DaemonStatus], Iterable[Sample]]:
    def samples(status: DaemonStatus) -> Iterable[Sample]:
        for symbol in status.symbols:
            value = read(symbol)
            if value is not None:
                yield (symbol.symbol,), value

    return samples


def _gaps(state: GapState) -> Callable[[SymbolStatus], float]:
    return lambda symbol: sum(gap.state is state for gap in symbol.gaps)


def _missing(symbol: SymbolStatus) -> float:
    return sum(gap.last_id - gap.first_id + 1 for gap in symbol.gaps if gap.state is not GapState.FILLED)


STATUS_METRICS: Final[Sequence[Metric[DaemonStatus]]] = (
    Metric(
        "candled_build_info", "gauge",
        "Always 1; the labels name the version, and the exchange once it has answered.", ("version", "exchange"),
        lambda status: [((status.version, status.exchange), 1)],
    ),
    Metric(
        "candled_start_time_seconds", "gauge", "Time of the daemon's start, seconds since the epoch.", (),
        one(lambda status: status.start_time / 1_000_000),
    ),
    Metric(
        "candled_ready", "gauge", "1 while /readyz says ready.", (),
        one(lambda status: not status.not_ready_reasons),
    ),
    Metric(
        "candled_phase", "gauge", "1 for the phase that the daemon is in, 0 for the others.", ("phase",),
        by_label(lambda status: {phase.value: phase.value == status.phase for phase in Phase}),
    ),
    Metric(
        "candled_exchange_time_seconds", "gauge",
        "Estimated time of the exchange's clock, seconds since the epoch.", (),
        one(lambda status: status.exchange_time / 1_000_000),
    ),
    Metric(
        "candled_trades_total", "counter", "Trades counted into bars.", ("symbol",),
        _each(lambda symbol: symbol.trades),
    ),
    Metric(
        "candled_duplicate_trades_total", "counter", "Trades received again and not counted.", ("symbol",),
        _each(lambda symbol: symbol.duplicates),
    ),
    Metric(
        "candled_symbol_live", "gauge", "1 while the symbol's stream is connected and fresh.", ("symbol",),
        _each(lambda symbol: symbol.live),
    ),
    Metric(
        "candled_symbol_trading", "gauge", "1 while the exchange lists the symbol as TRADING.", ("symbol",),
        _each(lambda symbol: symbol.trading_status == TRADING),
    ),
    Metric(
        "candled_feed_lag_seconds", "gauge",
        "Delay from the newest trade's exchange time to its arrival.", ("symbol",),
        _each(lambda symbol: symbol.lag_ms / 1000),
    ),
    Metric(
        "candled_last_trade_time_seconds", "gauge",
        "Exchange time of the newest trade, seconds since the epoch.", ("symbol",),
        _each(lambda symbol: None if symbol.last_trade_time is None else symbol.last_trade_time / 1_000_000),
    ),
    Metric(
        "candled_reconnects_total", "counter", "Reconnects of the symbol's stream.", ("symbol",),
        _each(lambda symbol: symbol.reconnects),
    ),
    Metric(
        "candled_gaps_total", "counter", "Gaps in trade ids found so far.", ("symbol",),
        _each(lambda symbol: symbol.gaps_found),
    ),
    Metric(
        "candled_gaps_open", "gauge", "Gaps in trade ids under repair.", ("symbol",),
        _each(_gaps(GapState.OPEN)),
    ),
    Metric(
        "candled_gaps_unfillable", "gauge", "Gaps in trade ids that the exchange cannot fill.", ("symbol",),
        _each(_gaps(GapState.UNFILLABLE)),
    ),
    Metric(
        "candled_trades_missing", "gauge", "Missing trade ids, in open and unfillable gaps.", ("symbol",),
        _each(_missing),
    ),
    Metric(
        "candled_gaps_filled_total", "counter", "Gaps in trade ids that were filled.",
        ("symbol",),
        _each(lambda symbol: symbol.gaps_filled),
    ),
    Metric(
        "candled_minutes_left", "gauge",
        "Minutes that have ended and have no bar yet.", ("symbol",),
        _each(lambda symbol: symbol.minutes_left),
    ),
)  # fmt: skip
"""Read from ``DaemonStatus``."""


def _each_symbol(read: Callable[[SymbolStatistics], float]) -> Callable[[EngineStatistics], Iterable[Sample]]:
    return by_label(lambda engine: {symbol.symbol: read(symbol) for symbol in engine.symbols})


def _quarantined(time: TimeStatistics) -> Mapping[str, int]:
    clock = sum(each.source == SERVER for each in time.quarantined)
    return {SERVER: clock, "symbol": len(time.quarantined) - clock}


ENGINE_METRICS: Final[Sequence[Metric[EngineStatistics]]] = (
    Metric(
        "candled_overlapping_aggregates_total", "counter",
        "Aggregates skipped because some of their trade ids were known; the missing ids are fetched.",
        ("symbol",),
        _each_symbol(lambda symbol: symbol.overlaps),
    ),
    Metric(
        "candled_inexact_aggregates_total", "counter",
        "Aggregates skipped because they need not sum up like their fills; the fills are fetched.", ("symbol",),
        _each_symbol(lambda symbol: symbol.inexact),
    ),
    Metric(
        "candled_ids_refused_total", "counter",
        "Trades not counted because their ids cannot follow those known: far ahead, or lower though later.",
        ("symbol",),
        _each_symbol(lambda symbol: symbol.ids_refused),
    ),
    Metric(
        "candled_id_epochs_total", "counter", "Resets of trade ids by the exchange.", ("symbol",),
        by_label(lambda engine: engine.id_epochs),
    ),
    Metric(
        "candled_closed_bars_total", "counter", "1-minute bars closed.", ("symbol",),
        _each_symbol(lambda symbol: symbol.closes),
    ),
    Metric(
        "candled_incomplete_closes_total", "counter", "1-minute bars that were not complete when they closed.",
        ("symbol",),
        _each_symbol(lambda symbol: symbol.incomplete_closes),
    ),
    Metric(
        "candled_revisions_total", "counter", "Revisions of closed 1-minute bars.", ("symbol",),
        _each_symbol(lambda symbol: symbol.revisions),
    ),
    Metric(
        "candled_misdated_trades_total", "counter",
        "Trades not counted as they came because of their time, by what is wrong with it.", ("reason",),
        by_label(lambda engine: {why.value: engine.misdated_trades.get(why, 0) for why in TimeRefusal}),
    ),
    Metric(
        "candled_held_trades", "gauge", "Trades that wait until sources agree that it is as late as they say.", (),
        one(lambda engine: engine.held_trades),
    ),
    Metric(
        "candled_time_known", "gauge", "1 once sources agreed on the exchange's time: no bar closes before.", (),
        one(lambda engine: engine.time.known),
    ),
    Metric(
        "candled_time_moves_total", "counter", "Times that agreement set or moved the exchange's time.", (),
        one(lambda engine: engine.time.moves),
    ),
    Metric(
        "candled_time_quarantined", "gauge", "Sources of time in quarantine, by kind.", ("source",),
        by_label(lambda engine: _quarantined(engine.time)),
    ),
    Metric(
        "candled_time_disagreements_total", "counter",
        "Sources of time put in quarantine, by kind and reason.", ("source", "reason"),
        lambda engine: [((kind, why.value), n) for (kind, why), n in engine.time.disagreements.items()],
    ),
    Metric(
        "candled_unknown_trades_total", "counter", "Trades of symbols that are not configured, discarded.", (),
        one(lambda engine: engine.unknown_trades),
    ),
)  # fmt: skip
"""Read from the engine."""
