"""Binance's REST answers, and trades and bars made of them: the gate of the exchange's REST side.

Forms: "Market Data endpoints" of the Binance spot API documents. An answer that is none raises ``ValueError``;
in a page of rows, a bad row is refused alone and the others are taken. Rows leave here in order, each id and each
minute once, and within the domain's limits.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

import attrs
import msgspec

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.exactness import quote_volumes_fit
from candled.domain.interval import MINUTE
from candled.domain.limits import (
    TRADE_ID_MAX,
    is_symbol,
    trade_fits,
)
from candled.domain.numbers import DECIMALS, parse_units
from candled.domain.refusal import Refusal, Refused
from candled.domain.trade import Trade
from candled.feed.adapter import KlinePage, TradePage
from candled.feed.binance.diagnosis import (
    AGGREGATE_ROW,
    NO_IDS,
    TRADE_ROW,
    Keys,
    diagnose_trade,
    microseconds,
)
from candled.feed.gate import (
    ABSENT,
    check_readable,
    decimals_of_step,
    decoded,
    excerpt,
    has_doubled_keys,
    implausible,
    is_exchange_time,
    kline_rows,
    number,
    once_each,
    read_json,
    rows_of,
)
from candled.feed.transport.reasons import printable

IDENTITY: Final = "binance-spot"
"""What the exchange is, unless its list of symbols says otherwise."""
PAGE: Final = 1000
"""Most rows that an answer is asked for."""
ROWS_MAX: Final = 2 * PAGE
"""Most rows that are read: a page may have some twice, and each is judged by itself; more is no page."""
_KLINE_COLUMNS: Final = 11
"""Columns of a kline that are read; there may be more."""
_STATUS: Final = re.compile(r"[A-Z_]{1,40}", re.ASCII)
_STRICT_BYTES: Final = 65_536
"""Answers up to this size are searched for doubled keys everywhere, larger ones where it matters."""
_CODE_MAX: Final = 10**6
_TRADE_COLONS: Final = 7
"""Of the fields of a row of trades, each once."""
_AGGREGATE_COLONS: Final = 8


class _Trade(msgspec.Struct, gc=False):
    """A row of ``/api/v3/trades`` and ``/api/v3/historicalTrades``."""

    id: int
    price: str
    qty: str
    time: int
    is_buyer_maker: bool = msgspec.field(name="isBuyerMaker")
    quote: msgspec.Raw = msgspec.field(name="quoteQty", default=ABSENT)
    best: msgspec.Raw = msgspec.field(name="isBestMatch", default=ABSENT)


class _Aggregate(msgspec.Struct, gc=False):
    """A row of ``/api/v3/aggTrades``."""

    a: int
    p: str
    q: str
    f: int
    l: int  # noqa: E741 - the exchange's name
    T: int
    m: bool
    M: msgspec.Raw = ABSENT


class _Filter(msgspec.Struct, gc=False):
    filter_type: str = msgspec.field(name="filterType")
    tick_size: str | None = msgspec.field(name="tickSize", default=None)
    step_size: str | None = msgspec.field(name="stepSize", default=None)


class RestSymbol(msgspec.Struct, gc=False):
    """A symbol of ``/api/v3/exchangeInfo``."""

    symbol: str
    status: str
    filters: list[_Filter] = []

    def decimals(self, filter_type: str) -> int:
        """Return the decimals of the price (``PRICE_FILTER``) or the quantity (``LOT_SIZE``).

        Eight, the most that there can be, where the exchange states no size, none that can be read, or 0, by which
        it switches a filter off: then aggregates do not count as exact.
        """
        for entry in self.filters:
            size = entry.tick_size if filter_type == "PRICE_FILTER" else entry.step_size
            if entry.filter_type == filter_type and size is not None:
                return decimals_of_step(size)
        return DECIMALS


class _ExchangeInfo(msgspec.Struct, gc=False):
    """``/api/v3/exchangeInfo``."""

    symbols: list[msgspec.Raw]
    embedded: str | None = msgspec.field(name="candledExchange", default=None)
    """Names its market where the exchange is candled's own."""


class _Name(msgspec.Struct, gc=False):
    symbol: str


class _ServerTime(msgspec.Struct, gc=False):
    """``/api/v3/time``."""

    server_time: int = msgspec.field(name="serverTime")


class _Refusal(msgspec.Struct, gc=False):
    code: int = 0
    msg: str = ""


_trade_decoder: Final = msgspec.json.Decoder(_Trade)
_aggregate_decoder: Final = msgspec.json.Decoder(_Aggregate)


@attrs.frozen(slots=True)
class Listing:
    """What ``exchangeInfo`` says of itself and of the symbols that were asked for."""

    embedded: str | None
    symbols: list[RestSymbol]
    names: list[str]
    """Every symbol in it."""


def decode_trades(body: bytes, symbol: str, first_id: int) -> TradePage:
    """Read a page of raw trades from ``first_id`` on.

    Raises:
        ValueError: it is no such page, or none of its rows has an id that can be read.
    """
    trades: list[Trade] = []
    refused: list[Refused] = []
    rows = rows_of(body, ROWS_MAX)
    for row in rows:
        try:
            found = _trade_decoder.decode(row)
            trade = Trade(
                symbol,
                found.id,
                found.id,
                parse_units(found.price),
                parse_units(found.qty),
                microseconds(found.time),
                found.is_buyer_maker,
            )
        except (msgspec.MsgspecError, ValueError, RecursionError):
            refused.append(diagnose_trade(bytes(row), TRADE_ROW, symbol))
            continue
        is_plain = found.quote is not ABSENT and found.best is not ABSENT and _colons(row) == _TRADE_COLONS
        _sort_out(trade, row, TRADE_ROW, trades, refused, is_plain=is_plain)
    trades, others = once_each([trade for trade in trades if trade.first_id >= first_id])
    refused = [row for row in refused if not row.has_ids or row.first_id >= first_id]
    check_readable(rows, trades, refused)
    return TradePage(trades, (*refused, *others))


def decode_aggregates(body: bytes, symbol: str) -> TradePage:
    """Read a page of aggregates. Those of no trades are left out.

    Raises:
        ValueError: it is no such page, or none of its rows has an id that can be read.
    """
    trades: list[Trade] = []
    refused: list[Refused] = []
    placeholders = 0
    cursor: int | None = None
    rows = rows_of(body, ROWS_MAX)
    for row in rows:
        try:
            found = _aggregate_decoder.decode(row)
            price, quantity = parse_units(found.p), parse_units(found.q)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            refused.append(diagnose_trade(bytes(row), AGGREGATE_ROW, symbol))
            continue
        if 0 <= found.a < TRADE_ID_MAX:
            cursor = max(cursor or 0, found.a + 1)
        if (found.f, found.l) == NO_IDS:
            placeholders += 1
            continue
        trade = Trade(symbol, found.f, found.l, price, quantity, microseconds(found.T), found.m)
        is_plain = found.M is not ABSENT and _colons(row) == _AGGREGATE_COLONS
        _sort_out(trade, row, AGGREGATE_ROW, trades, refused, is_plain=is_plain)
    trades, others = once_each(trades)
    if not placeholders:
        check_readable(rows, trades, refused)
    return TradePage(trades, (*refused, *others), cursor)


def decode_klines(body: bytes, symbol: str, first_open_time: int) -> KlinePage:
    """Read a page of 1-minute klines from ``first_open_time`` on, as bars without trade ids.

    Raises:
        ValueError: it is no such page, or none of its rows has a time that can be read.
    """
    rows = [bytes(row) for row in rows_of(body, ROWS_MAX)]
    return KlinePage(*kline_rows([_kline(row, symbol) for row in rows], rows, symbol, first_open_time))


def decode_listing(body: bytes, wanted: Iterable[str]) -> Listing:
    """Read ``exchangeInfo``.

    Raises:
        ValueError: it is none, or what it says of a wanted symbol cannot be read.
    """
    info = decoded(msgspec.json.Decoder(_ExchangeInfo).decode, body)
    wanted = frozenset(wanted)
    if len(body) <= _STRICT_BYTES and has_doubled_keys(body):
        raise ValueError(Refusal.DOUBLED_KEY.value)
    if info.embedded is not None and not (info.embedded.isprintable() and len(info.embedded) <= 200):
        raise ValueError("the name of its market cannot be read")
    symbols: list[RestSymbol] = []
    names: list[str] = []
    unreadable = 0
    for raw in info.symbols:
        try:
            name = msgspec.json.decode(raw, type=_Name).symbol
        except (msgspec.MsgspecError, ValueError, RecursionError):
            unreadable += 1
            continue
        if is_symbol(name):
            names.append(name)
        if name in wanted:
            symbols.append(_symbol(bytes(raw), name))
    lacking = wanted - {entry.symbol for entry in symbols}
    if lacking and unreadable:
        raise ValueError(f"{unreadable} of its symbols cannot be read")
    if len({entry.symbol for entry in symbols}) != len(symbols):
        raise ValueError("a symbol stands in it twice")
    return Listing(info.embedded, symbols, names)


def decode_server_time(body: bytes) -> int:
    """Read the exchange's clock, as microseconds.

    Raises:
        ValueError: it is none.
    """
    time = microseconds(decoded(msgspec.json.Decoder(_ServerTime).decode, body).server_time)
    if not is_exchange_time(time) or has_doubled_keys(body):
        raise ValueError(f"the exchange's clock is {Refusal.TIME}")
    return time


def decode_refusal(body: bytes) -> tuple[int, str]:
    """Read the code and the message of a refused request.

    Raises:
        ValueError: there are none.
    """
    refusal = decoded(msgspec.json.Decoder(_Refusal).decode, body)
    return refusal.code if abs(refusal.code) < _CODE_MAX else 0, printable(refusal.msg)


def _colons(row: msgspec.Raw) -> int:
    return bytes(row).count(b":")


def _sort_out(
    trade: Trade,
    row: msgspec.Raw,
    keys: Keys,
    trades: list[Trade],
    refused: list[Refused],
    *,
    is_plain: bool,
) -> None:
    """Take a trade or refuse it; ``is_plain``: its row has each of its fields and no more, so none twice."""
    fits = trade_fits(trade.first_id, trade.last_id, trade.price, trade.quantity, trade.time)
    if fits and (is_plain or not has_doubled_keys(bytes(row))):
        trades.append(trade)
    else:
        refused.append(diagnose_trade(bytes(row), keys, trade.symbol))


def _kline(text: bytes, symbol: str) -> Bar | Refused:
    """Read a row of klines: open time, o, h, l, c, v, close time, q, n, V, Q, and whatever follows."""
    row = read_json(text)
    if not isinstance(row, list) or not row:
        return Refused(Refusal.FORM, excerpt(text), symbol)
    open_time = microseconds(row[0]) if type(row[0]) is int else -1
    if not is_exchange_time(open_time) or open_time % MINUTE:
        return Refused(Refusal.TIME, excerpt(text), symbol)
    if len(row) < _KLINE_COLUMNS or type(row[8]) is not int:
        return Refused(Refusal.FORM, excerpt(text), symbol, open_time=open_time)
    values: list[int] = []
    for value in (*row[1:6], row[7], row[9], row[10]):
        units = number(value)
        if isinstance(units, Refusal):
            return Refused(units, excerpt(text), symbol, open_time=open_time)
        values.append(units)
    bar = _bar(symbol, open_time, values, row[8])
    reason = implausible(bar) or (None if quote_volumes_fit(bar) else Refusal.KLINE)
    return bar if reason is None else Refused(reason, excerpt(text), symbol, open_time=open_time)


def _bar(symbol: str, open_time: int, values: Sequence[int], count: int) -> Bar:
    open_, high, low, close, volume, quote_volume, taker_buy_volume, taker_buy_quote_volume = values
    return Bar(
        symbol=symbol,
        interval="1m",
        open_time=open_time,
        close_time=open_time + MINUTE,
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=volume,
        quote_volume=quote_volume,
        trade_count=count,
        taker_buy_volume=taker_buy_volume,
        taker_buy_quote_volume=taker_buy_quote_volume,
        first_trade_id=NO_TRADE,
        last_trade_id=NO_TRADE,
        previous_trade_id=NO_TRADE,
        closed=True,
    )


def _symbol(row: bytes, name: str) -> RestSymbol:
    try:
        entry = msgspec.json.decode(row, type=RestSymbol)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"{printable(name)}: {error}") from None
    if has_doubled_keys(row) or not _STATUS.fullmatch(entry.status):
        raise ValueError(f"{printable(name)}: its description cannot be read")
    return entry
