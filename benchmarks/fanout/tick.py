"""The one message that every server of the benchmark sends: a BTCUSDT bar."""

import msgspec

from candled.domain.bar import Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.numbers import parse_units
from candled.stream.grpc.encoder import encode_shared
from candled.stream.message import message_of
from candled.stream.resume import ResumeTokens

_OPEN = 1_790_000_040_000_000
_BAR = Bar(
    symbol="BTCUSDT",
    interval="1m",
    open_time=_OPEN,
    close_time=_OPEN + 60_000_000,
    open=parse_units("96000.12000000"),
    high=parse_units("96020.50000000"),
    low=parse_units("95990.01000000"),
    close=parse_units("96011.34000000"),
    volume=parse_units("12.34567000"),
    quote_volume=parse_units("1185212.12345678"),
    trade_count=1234,
    taker_buy_volume=parse_units("6.12345000"),
    taker_buy_quote_volume=parse_units("587912.87654321"),
    first_trade_id=4_200_000_000,
    last_trade_id=4_200_001_233,
    previous_trade_id=4_199_999_999,
)


def tick_event(tick: int) -> BarEvent:
    """One event, encoded again each time, as in use. A CLOSE, since no server may conflate that."""
    bar = msgspec.structs.replace(_BAR, trade_count=1000 + tick % 9000)
    return BarEvent(BarEventKind.CLOSE, bar, _OPEN + 1_000_000, tick + 1)


def crowd_event(tick: int) -> BarEvent:
    """UPDATEs of one bar after another; each tenth event closes its bar."""
    number, closed = tick // 10, tick % 10 == 9
    bar = msgspec.structs.replace(
        _BAR,
        open_time=_OPEN + number * 60_000_000,
        close_time=_OPEN + (number + 1) * 60_000_000,
        trade_count=1000 + tick % 9000,
        closed=closed,
        complete=closed,
    )
    kind = BarEventKind.CLOSE if closed else BarEventKind.UPDATE
    return BarEvent(kind, bar, bar.open_time + 1_000_000, tick + 1)


SHARED = encode_shared(message_of(tick_event(0), ResumeTokens("0" * 16)))
