"""Bars, messages and status as JSON for the chart. The market's numbers are strings, exact to the last decimal."""

from typing import Any

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.numbers import format_decimals, format_units
from candled.domain.status import DaemonStatus, GapState, SymbolStatus
from candled.stream.message import Message


def bar_form(bar: Bar) -> dict[str, Any]:
    """Return a bar as JSON fields; times are milliseconds since the epoch, as in JavaScript."""
    return {
        "symbol": bar.symbol,
        "interval": bar.interval,
        "open_time": bar.open_time // 1000,
        "close_time": bar.close_time // 1000,
        "open": format_units(bar.open),
        "high": format_units(bar.high),
        "low": format_units(bar.low),
        "close": format_units(bar.close),
        "volume": format_units(bar.volume),
        "quote_volume": format_decimals(bar.quote_volume, bar.quote_decimals),
        "trade_count": bar.trade_count,
        "taker_buy_volume": format_units(bar.taker_buy_volume),
        "taker_buy_quote_volume": format_decimals(bar.taker_buy_quote_volume, bar.quote_decimals),
        "first_trade_id": None if bar.first_trade_id == NO_TRADE else bar.first_trade_id,
        "last_trade_id": None if bar.last_trade_id == NO_TRADE else bar.last_trade_id,
        "closed": bar.closed,
        "complete": bar.complete,
        "revision": bar.revision,
    }


def message_form(message: Message) -> dict[str, Any]:
    """Return a message that carries a bar as JSON fields."""
    assert message.bar is not None
    return {
        "kind": message.kind.name.lower(),
        "exchange_time": message.exchange_time // 1000,
        "bar": bar_form(message.bar),
    }


def status_form(status: DaemonStatus) -> dict[str, Any]:
    """Return the daemon's state for the chart as JSON fields."""
    form: dict[str, Any] = {
        "version": status.version,
        "exchange": status.exchange,
        "exchange_time": status.exchange_time // 1000,
        "not_ready_reasons": list(status.not_ready_reasons),
        "notices": list(status.notices),
        "symbols": {symbol.symbol: _symbol_form(symbol) for symbol in status.symbols},
    }
    if status.process:
        form["process"] = status.process
        form["ingesters"] = [
            {"name": each.name, "rank": each.rank, "ready": each.is_ready, "symbols": each.symbols}
            for each in status.ingesters
        ]
    return form


def _symbol_form(symbol: SymbolStatus) -> dict[str, Any]:
    return {
        "trading_status": symbol.trading_status,
        "live": symbol.live,
        "lag_ms": symbol.lag_ms,
        "last_price": None if symbol.last_price is None else format_units(symbol.last_price),
        "gaps_open": sum(gap.state is GapState.OPEN for gap in symbol.gaps),
        "gaps_unfillable": sum(gap.state is GapState.UNFILLABLE for gap in symbol.gaps),
    }
