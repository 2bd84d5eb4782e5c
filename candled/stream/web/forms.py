"""Bars, messages and status as JSON for the chart. The market's numbers are strings, exact to the last decimal."""

from typing import Any

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.numbers import format_units
from candled.domain.status import DaemonStatus, GapState, SymbolStatus
from candled.stream.message import Message


def bar_form(bar: Bar) -> dict[str, Any]:
    """A bar. Times are milliseconds since the epoch, as JavaScript counts."""
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
        "quote_volume": format_units(bar.quote_volume),
        "trade_count": bar.trade_count,
        "taker_buy_volume": format_units(bar.taker_buy_volume),
        "taker_buy_quote_volume": format_units(bar.taker_buy_quote_volume),
        "first_trade_id": None if bar.first_trade_id == NO_TRADE else bar.first_trade_id,
        "last_trade_id": None if bar.last_trade_id == NO_TRADE else bar.last_trade_id,
        "closed": bar.closed,
        "complete": bar.complete,
        "revision": bar.revision,
    }


def message_form(message: Message) -> dict[str, Any]:
    """A message that carries a bar."""
    assert message.bar is not None
    return {
        "kind": message.kind.name.lower(),
        "exchange_time": message.exchange_time // 1000,
        "bar": bar_form(message.bar),
    }


def status_form(status: DaemonStatus) -> dict[str, Any]:
    """What the chart shows of the daemon's state."""
    return {
        "version": status.version,
        "exchange": status.exchange,
        "exchange_time": status.exchange_time // 1000,
        "not_ready_reasons": list(status.not_ready_reasons),
        "symbols": {symbol.symbol: _symbol_form(symbol) for symbol in status.symbols},
    }


def _symbol_form(symbol: SymbolStatus) -> dict[str, Any]:
    return {
        "trading_status": symbol.trading_status,
        "live": symbol.live,
        "lag_ms": symbol.lag_ms,
        "last_price": None if symbol.last_price is None else format_units(symbol.last_price),
        "gaps_open": sum(gap.state is GapState.OPEN for gap in symbol.gaps),
        "gaps_unfillable": sum(gap.state is GapState.UNFILLABLE for gap in symbol.gaps),
    }
