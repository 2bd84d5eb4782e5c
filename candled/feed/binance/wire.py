"""Binance's messages, and trades and bars made of them.

Forms: "WebSocket Streams" and "Market Data endpoints" of the Binance spot API documents.
"""

from collections.abc import Iterable
from typing import Final

import attrs
import msgspec

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.interval import MINUTE
from candled.domain.numbers import parse_units
from candled.domain.trade import Trade

_MICROSECONDS_FROM: Final = 10**14
"""Times below are milliseconds (until the year 5138), others microseconds (since 1973)."""


class _Trade(msgspec.Struct, tag_field="e", tag="trade", gc=False):
    E: int
    s: str
    t: int
    p: str
    q: str
    T: int
    m: bool


class _Aggregate(msgspec.Struct, tag_field="e", tag="aggTrade", gc=False):
    E: int
    s: str
    p: str
    q: str
    f: int
    l: int  # noqa: E741 - the exchange's name
    T: int
    m: bool


class _ServerShutdown(msgspec.Struct, tag_field="e", tag="serverShutdown", gc=False):
    E: int


class _Frame(msgspec.Struct, gc=False):
    data: _Trade | _Aggregate | _ServerShutdown | None = None
    error: msgspec.Raw | None = None


_frame_decoder: Final = msgspec.json.Decoder(_Frame)


@attrs.define(slots=True)
class Decoded:
    """What a list of frames says."""

    trades: list[Trade] = attrs.Factory(list)
    event_time: int = 0
    """Newest of their event times, microseconds."""
    shutdown: bool = False
    """The server asks its clients to reconnect."""
    malformed: list[str] = attrs.Factory(list)
    """Why frames were skipped, one text each."""


def decode_frames(frames: Iterable[str | bytes]) -> Decoded:
    """Read combined-stream frames; one that makes no sense is skipped and told."""
    decoded = Decoded()
    add = decoded.trades.append
    decode = _frame_decoder.decode
    newest = 0
    for frame in frames:
        try:
            message = decode(frame)
            data = message.data
            if type(data) is _Trade:
                first_id = last_id = data.t
            elif type(data) is _Aggregate:
                first_id, last_id = data.f, data.l
            elif type(data) is _ServerShutdown:
                decoded.shutdown = True
                continue
            else:  # the answer to a subscription
                if message.error is not None:
                    decoded.malformed.append(f"the exchange refuses: {frame[:200]!r}")
                continue
            time = data.T
            if time < _MICROSECONDS_FROM:
                time *= 1000
            if not 0 <= first_id <= last_id:
                if not first_id == last_id == NO_TRADE:  # the exchange sends aggregates of no trades
                    decoded.malformed.append(f"trade ids {first_id}..{last_id}: {frame[:200]!r}")
                continue
            trade = Trade(data.s, first_id, last_id, parse_units(data.p), parse_units(data.q), time, data.m)
        except (msgspec.MsgspecError, ValueError) as error:
            decoded.malformed.append(f"{error}: {frame[:200]!r}")
            continue
        newest = max(newest, data.E)
        add(trade)
    decoded.event_time = microseconds(newest)
    return decoded


def microseconds(time: int) -> int:
    """A time of the exchange, in milliseconds or microseconds, as microseconds."""
    return time * 1000 if time < _MICROSECONDS_FROM else time


class RestTrade(msgspec.Struct, gc=False):
    """A row of ``/api/v3/trades`` and ``/api/v3/historicalTrades``."""

    id: int
    price: str
    qty: str
    time: int
    is_buyer_maker: bool = msgspec.field(name="isBuyerMaker")

    def to_trade(self, symbol: str) -> Trade:
        """The trade it states."""
        return Trade(
            symbol,
            self.id,
            self.id,
            parse_units(self.price),
            parse_units(self.qty),
            microseconds(self.time),
            self.is_buyer_maker,
        )


class RestAggregate(msgspec.Struct, gc=False):
    """A row of ``/api/v3/aggTrades``."""

    a: int
    p: str
    q: str
    f: int
    l: int  # noqa: E741 - the exchange's name
    T: int
    m: bool

    def to_trade(self, symbol: str) -> Trade:
        """The aggregate it states."""
        return Trade(
            symbol, self.f, self.l, parse_units(self.p), parse_units(self.q), microseconds(self.T), self.m
        )


RestKline = tuple[int, str, str, str, str, str, int, str, int, str, str, str]
"""A row of ``/api/v3/klines``: open time, o, h, l, c, v, close time, q, n, V, Q, unused."""


def kline_to_bar(symbol: str, row: RestKline) -> Bar:
    """A 1-minute kline as a bar without trade ids."""
    open_time = microseconds(row[0])
    return Bar(
        symbol=symbol,
        interval="1m",
        open_time=open_time,
        close_time=open_time + MINUTE,
        open=parse_units(row[1]),
        high=parse_units(row[2]),
        low=parse_units(row[3]),
        close=parse_units(row[4]),
        volume=parse_units(row[5]),
        quote_volume=parse_units(row[7]),
        trade_count=row[8],
        taker_buy_volume=parse_units(row[9]),
        taker_buy_quote_volume=parse_units(row[10]),
        first_trade_id=NO_TRADE,
        last_trade_id=NO_TRADE,
        previous_trade_id=NO_TRADE,
        closed=True,
    )


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
        """Decimals of the price (``PRICE_FILTER``) or the quantity (``LOT_SIZE``); eight if nothing is said."""
        for entry in self.filters:
            size = entry.tick_size if filter_type == "PRICE_FILTER" else entry.step_size
            if entry.filter_type == filter_type and size is not None:
                return len(size.partition(".")[2].rstrip("0"))
        return 8


class RestExchangeInfo(msgspec.Struct, gc=False):
    """``/api/v3/exchangeInfo``."""

    symbols: list[RestSymbol]
    embedded: str | None = msgspec.field(name="candledExchange", default=None)
    """Names its market where the exchange is candled's own."""


class RestServerTime(msgspec.Struct, gc=False):
    """``/api/v3/time``."""

    server_time: int = msgspec.field(name="serverTime")


class RestRefusal(msgspec.Struct, gc=False):
    """The body of a refused request."""

    code: int = 0
    msg: str = ""
