"""Coinbase's REST answers, and trades and bars made of them: the gate of its REST side.

Forms: "Get product trades", "Get product candles", "Get all known trading pairs", "Get server time" of its API
documents. An answer that is none raises ``ValueError``; in a page of rows, a bad row is refused alone.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.interval import MICROSECONDS, MINUTE
from candled.domain.limits import is_symbol
from candled.domain.refusal import Refusal, Refused
from candled.feed.adapter import DELISTED, TRADING, Instrument, KlinePage, TradePage
from candled.feed.coinbase.capabilities import CANDLES, PAGE
from candled.feed.coinbase.trades import has_colons, make_trade, parse_time, refused
from candled.feed.gate import (
    check_readable,
    decimals_of_step,
    decoded,
    excerpt,
    has_doubled_keys,
    implausible,
    is_exchange_time,
    is_integer,
    kline_rows,
    number,
    once_each,
    read_json,
    rows_of,
    unreadable,
)
from candled.feed.transport.reasons import printable

if TYPE_CHECKING:
    from candled.domain.trade import Trade

IDENTITY: Final = "coinbase-exchange"
"""What the exchange is, unless its answers say otherwise."""
_ROWS_MAX: Final = 2 * PAGE
"""Most rows that are read: a page may have some twice, and each is judged by itself; more is no page."""
_TRADE_COLONS: Final = 7
"""Of the five fields of a row, and the two in its time."""
_CANDLE_COLUMNS: Final = 6
_PRODUCTS_MAX: Final = 100_000
_SECONDS_DIGITS_MAX: Final = 11
_STATUS_CHARACTERS: Final = 40


class _Row(msgspec.Struct, gc=False):
    """A row of ``/products/<id>/trades``."""

    trade_id: int
    side: str
    size: str
    price: str
    time: str


class _Refusal(msgspec.Struct, gc=False):
    message: str


_refusal_decoder: Final = msgspec.json.Decoder(_Refusal)
_row_decoder: Final = msgspec.json.Decoder(_Row)


@attrs.frozen(slots=True)
class Listing:
    """What ``/products`` says of the symbols that were asked for."""

    instruments: dict[str, Instrument]
    names: list[str]
    """Every symbol in it."""


def decode_trades(body: bytes, symbol: str, first_id: int) -> TradePage:
    """Read a page of trades, which the exchange lists newest first; those below ``first_id`` are left out.

    Raises:
        ValueError: it is no such page, or none of its rows has an id that can be read.
    """
    rows = rows_of(body, _ROWS_MAX)
    trades: list[Trade] = []
    bad: list[Refused] = []
    for raw in rows:
        row = bytes(raw)
        try:
            found = _row_decoder.decode(row)
            trade = make_trade(symbol, found.trade_id, found.price, found.size, found.time, found.side)
        except (msgspec.MsgspecError, ValueError, KeyError, RecursionError):
            trade = None
        is_plain = row.isascii() and has_colons(row.decode("ascii"), _TRADE_COLONS)
        if trade is not None and (is_plain or not has_doubled_keys(row)):
            trades.append(trade)
        else:
            bad.append(_refused_row(row, symbol))
    trades, others = once_each(trades)
    check_readable(rows, trades, [*bad, *others])
    trades = [trade for trade in trades if trade.first_id >= first_id]
    return TradePage(trades, tuple(row for row in (*bad, *others) if not row.has_ids or row.first_id >= first_id))


def decode_candles(body: bytes, symbol: str, first_open_time: int) -> KlinePage:
    """Read a page of 1-minute candles, newest first there; those before ``first_open_time`` are left out.

    They state prices and volume: see ``Capabilities.klines_carry_trade_count``. Numbers are read as text.

    Raises:
        ValueError: it is no such page, or none of its rows has a time that can be read.
    """
    rows = [bytes(row) for row in rows_of(body, 2 * CANDLES)]  # some may be there twice, or before the range
    found = [(_candle(row, symbol), row) for row in rows]
    asked = [(bar, row) for bar, row in found if not _is_before(bar, first_open_time)]
    return KlinePage(*kline_rows([bar for bar, _ in asked], [row for _, row in asked], symbol, first_open_time))


def decode_listing(body: bytes, wanted: Iterable[str]) -> Listing:
    """Read ``/products``.

    Raises:
        ValueError: it is none, or what it says of a wanted symbol cannot be read.
    """
    rows = rows_of(body, _PRODUCTS_MAX)
    wanted = frozenset(wanted)
    names: list[str] = []
    instruments: dict[str, Instrument] = {}
    for product in map(read_json, map(bytes, rows)):
        name = product.get("id") if isinstance(product, dict) else None
        if not isinstance(name, str) or not is_symbol(name):
            continue
        names.append(name)
        if name in wanted:
            instrument = _instrument(product)
            if instruments.setdefault(name, instrument) != instrument:
                raise ValueError("a product stands in it twice")
    if len(names) < len(rows) and wanted - instruments.keys():
        raise ValueError(f"{len(rows) - len(names)} of its products cannot be read")
    return Listing(instruments, names)


def decode_product(body: bytes, symbol: str) -> Instrument:
    """Read ``/products/<id>``.

    Raises:
        ValueError: it is none, or that of another product.
    """
    product = read_json(body)
    if not isinstance(product, dict) or product.get("id") != symbol:
        raise ValueError(f"a description of {printable(symbol)} is {unreadable(product)}")
    return _instrument(product)


def decode_server_time(body: bytes) -> int:
    """Read the exchange's clock, as microseconds.

    Raises:
        ValueError: it is none.
    """
    found = read_json(body)
    iso = found.get("iso") if isinstance(found, dict) else None
    time = parse_time(iso) if isinstance(iso, str) else -1
    if not is_exchange_time(time):
        raise ValueError(f"the exchange's clock is {Refusal.TIME}")
    return time


def decode_refusal(body: bytes) -> str:
    """Read the message of a refused request.

    Raises:
        ValueError: there is none.
    """
    return printable(decoded(_refusal_decoder.decode, body).message)


def _refused_row(row: bytes, symbol: str) -> Refused:
    data = read_json(row)
    return (
        refused(data, row, symbol) if isinstance(data, dict) else Refused(unreadable(data), excerpt(row), symbol)
    )


def _is_before(bar: Bar | Refused, open_time: int) -> bool:
    return bar.open_time is not None and bar.open_time < open_time


def _candle(text: bytes, symbol: str) -> Bar | Refused:
    """Read a row of candles: open time in seconds, low, high, open, close, volume, and whatever follows."""
    row = read_json(text, parse_float=str)
    if not isinstance(row, list) or not row:
        return Refused(Refusal.FORM, excerpt(text), symbol)
    seconds = row[0] if is_integer(row[0]) and len(str(row[0])) <= _SECONDS_DIGITS_MAX else -1
    open_time = seconds * MICROSECONDS
    if not is_exchange_time(open_time) or open_time % MINUTE:
        return Refused(Refusal.TIME, excerpt(text), symbol)
    if len(row) < _CANDLE_COLUMNS:
        return Refused(Refusal.FORM, excerpt(text), symbol, open_time=open_time)
    values: list[int] = []
    for value in row[1:_CANDLE_COLUMNS]:
        units = number(str(value) if is_integer(value) else value)
        if isinstance(units, Refusal):
            return Refused(units, excerpt(text), symbol, open_time=open_time)
        values.append(units)
    low, high, open_, close, volume = values
    count = 1 if volume else 0
    prices, ids = (open_, high, low, close), (NO_TRADE,) * 3
    bar = Bar(symbol, "1m", open_time, open_time + MINUTE, *prices, volume, 0, count, 0, 0, *ids, closed=True)
    reason = implausible(bar)
    return bar if reason is None else Refused(reason, excerpt(text), symbol, open_time=open_time)


def _instrument(product: dict[str, Any]) -> Instrument:
    symbol, status = product.get("id"), product.get("status")
    if not (isinstance(symbol, str) and is_symbol(symbol) and isinstance(status, str)):
        raise ValueError("a product's description cannot be read")
    if not status.isascii() or not status.replace("_", "").isalnum() or len(status) > _STATUS_CHARACTERS:
        raise ValueError(f"{printable(symbol)}: its status cannot be read")
    return Instrument(
        symbol,
        _status(status, product),
        decimals_of_step(product.get("quote_increment")),
        decimals_of_step(product.get("base_increment")),
    )


def _status(status: str, product: dict[str, Any]) -> str:
    """Return the state of a product: ``online`` ones are traded, unless a flag says otherwise."""
    if status == "delisted":
        return DELISTED
    if status != "online":
        return status.upper()
    for flag in ("trading_disabled", "cancel_only", "post_only", "auction_mode"):
        if product.get(flag) is True:
            return flag.upper()
    return TRADING
