"""Encode the update of a forming bar without protobuf's message objects.

Nearly every message is one, and each is made for a single trade: assigning some twenty fields and serializing
them costs more than twice what it takes to write their bytes, most of which were the same in the update before.
So they are written here, of parts that are kept: the fields that a bar begins with, prices, high digits of ids
and times. The tests compare the result with protobuf's, byte by byte.

Form: "Encoding" of the Protocol Buffers documentation. Fields in the order of their numbers, each of them a tag
(number and wire type), then a varint, or a length as varint and that number of bytes.
"""

from functools import lru_cache
from typing import Final

from candled.api import candles_pb2 as pb
from candled.domain.bar import NO_TRADE
from candled.domain.interval import MICROSECONDS
from candled.domain.numbers import DECIMALS, ONE, format_decimals
from candled.stream.message import Message, MessageKind

_UPDATE: Final = MessageKind.UPDATE


def _tag(message: str, field: str) -> bytes:
    """Return the tag of a field; a varint's wire type is 0, that of strings and messages 2."""
    found = pb.DESCRIPTOR.message_types_by_name[message].fields_by_name[field]
    wire_type = 0 if found.cpp_type in {found.CPPTYPE_INT64, found.CPPTYPE_ENUM} else 2
    return varint(found.number << 3 | wire_type)


def varint(number: int) -> bytes:
    """Encode a non-negative number: seven bits in a byte, the lowest first, bit 8 set in all but the last."""
    if number < 0x80:
        return bytes((number,))
    if number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    return bytes((number & 0x7F | 0x80, number >> 7 & 0x7F | 0x80)) + _kept_varint(number >> 14)


_kept_varint = lru_cache(8192)(varint)
"""For numbers that repeat."""
_NOT_LAST: Final = [bytes((digit | 0x80,)) for digit in range(0x80)]
"""The bytes of a varint but its last."""
_NUMBER: Final = b"%d.%08d"
"""How ``format_units`` writes numbers, of the quotient and the remainder by ``ONE``."""


def rising_varint(number: int) -> bytes:
    """Encode a number that follows one encoded before: all but its lowest digit is kept."""
    if number < 0x80:
        return bytes((number,))
    return _NOT_LAST[number & 0x7F] + _kept_varint(number >> 7)


def encode_update(message: Message) -> bytes | None:
    """Encode the UPDATE of a bar that has trades and is not closed; None: it is something else."""
    bar = message.bar
    if (
        message.kind is not _UPDATE
        or bar is None
        or bar.closed
        or bar.complete
        or bar.trade_count <= 0
        or bar.first_trade_id == NO_TRADE
        or bar.last_trade_id == NO_TRADE
    ):
        return None
    volume = _NUMBER % divmod(bar.volume, ONE)
    quote_volume = _quote(bar.quote_volume, bar.quote_decimals)
    taker_volume = _NUMBER % divmod(bar.taker_buy_volume, ONE)
    taker_quote_volume = _quote(bar.taker_buy_quote_volume, bar.quote_decimals)
    data = _BAR % (
        _opening(bar.symbol, bar.interval, bar.open_time, bar.close_time, bar.open, bar.high, bar.low),
        _price(bar.close),
        len(volume),
        volume,
        len(quote_volume),
        quote_volume,
        _kept_varint(bar.trade_count),
        len(taker_volume),
        taker_volume,
        len(taker_quote_volume),
        taker_quote_volume,
        _kept_varint(bar.first_trade_id),
        rising_varint(bar.last_trade_id),
    )
    if bar.revision:
        data += _REVISION + varint(bar.revision)
    seconds, microseconds = divmod(message.exchange_time, MICROSECONDS)
    time = _seconds(seconds) + _nanoseconds(microseconds)
    return _RESPONSE % (_kept_varint(len(data)), data, len(time), time)


def _quote(value: int, decimals: int) -> bytes:
    """Encode a quote volume, which has the decimals of its exchange."""
    return _NUMBER % divmod(value, ONE) if decimals == DECIMALS else format_decimals(value, decimals).encode()


@lru_cache(8192)
def _price(units: int) -> bytes:
    """Encode a price, without its tag. Prices repeat, other numbers do not."""
    text = _NUMBER % divmod(units, ONE)
    return varint(len(text)) + text


@lru_cache(1024)
def _seconds(seconds: int) -> bytes:
    return _SECONDS + varint(seconds) if seconds else b""


@lru_cache(4096)
def _nanoseconds(microseconds: int) -> bytes:
    return _NANOSECONDS + varint(microseconds * 1000) if microseconds else b""


@lru_cache(8192)
def _opening(
    symbol: str, interval: str, open_time: int, close_time: int, price: int, high: int, low: int
) -> bytes:
    """Encode the fields that a bar begins with: most trades change none of them."""
    name = symbol.encode()
    return _OPENING % (
        varint(len(name)),
        name,
        varint(len(interval)),
        interval.encode(),
        _time(open_time),
        _time(close_time),
        _price(price),
        _price(high),
        _price(low),
    )


def _time(time: int) -> bytes:
    """Encode a timestamp, without its tag."""
    seconds, microseconds = divmod(time, MICROSECONDS)
    data = _seconds(seconds) + _nanoseconds(microseconds)
    return varint(len(data)) + data


def _form(message: str, fields: dict[str, bytes]) -> bytes:
    """Return a form for ``%``: each field's tag, and what stands for its value."""
    return b"".join(_tag(message, field).replace(b"%", b"%%") + value for field, value in fields.items())


_OPENING: Final = _form(
    "Bar",
    {
        "symbol": b"%b%b",
        "interval": b"%b%b",
        "open_time": b"%b",
        "close_time": b"%b",
        "open": b"%b",
        "high": b"%b",
        "low": b"%b",
    },
)
_BAR: Final = b"%b" + _form(
    "Bar",
    {
        "close": b"%b",
        "volume": b"%c%b",
        "quote_volume": b"%c%b",
        "trade_count": b"%b",
        "taker_buy_volume": b"%c%b",
        "taker_buy_quote_volume": b"%c%b",
        "first_trade_id": b"%b",
        "last_trade_id": b"%b",
    },
)
_SECONDS: Final = varint(1 << 3)
_NANOSECONDS: Final = varint(2 << 3)
_REVISION: Final = _tag("Bar", "revision")
_RESPONSE: Final = _form(
    "StreamBarsResponse", {"kind": varint(MessageKind.UPDATE), "bar": b"%b%b", "exchange_time": b"%c%b"}
)
