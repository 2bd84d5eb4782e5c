"""Binance's messages, and trades made of them: the gate of the exchange's streams.

Forms: "WebSocket Streams" of the Binance spot API documents. No frame raises, and every trade that leaves here
lies within the domain's limits; what does not is refused alone, with the reason and, where it has any, its ids.

Every trade of the market passes through ``decode_frames``, so it takes one typed decoding, one comparison with the
limits, and a count of colons: if there are as many as the message has fields, and each field is there, then none
is there twice. Anything else is looked at again, slowly, in ``diagnosis``.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import msgspec

from candled.domain.limits import EVENT_LEAD_MAX, EXCHANGE_TIME_MAX, EXCHANGE_TIME_MIN, trade_fits
from candled.domain.numbers import parse_units
from candled.domain.refusal import Refusal, Refused
from candled.domain.trade import Trade
from candled.feed.adapter import Decoded
from candled.feed.binance.diagnosis import MICROSECONDS_FROM, NO_IDS, diagnose_frame
from candled.feed.gate import ABSENT, excerpt, has_doubled_keys

_TRADE_COLONS: Final = 11
"""Of the nine fields below and the two of the combined stream round them."""
_AGGREGATE_COLONS: Final = 13


class _Trade(msgspec.Struct, tag_field="e", tag="trade", gc=False):
    E: int
    s: str
    t: int
    p: str
    q: str
    T: int
    m: bool
    M: msgspec.Raw = ABSENT


class _Aggregate(msgspec.Struct, tag_field="e", tag="aggTrade", gc=False):
    E: int
    s: str
    p: str
    q: str
    f: int
    l: int  # noqa: E741 - the exchange's name
    T: int
    m: bool
    a: msgspec.Raw = ABSENT
    M: msgspec.Raw = ABSENT


class _ServerShutdown(msgspec.Struct, tag_field="e", tag="serverShutdown", gc=False):
    E: int


class _Frame(msgspec.Struct, gc=False):
    data: _Trade | _Aggregate | _ServerShutdown | None = None
    error: msgspec.Raw = ABSENT
    stream: msgspec.Raw = ABSENT


_frame_decoder: Final = msgspec.json.Decoder(_Frame)
_parse_price: Final = lru_cache(8192)(parse_units)
"""Trades that come together mostly have a few prices."""
_PRICE_KEPT_MAX: Final = 40
"""Characters of a price up to which it is kept."""


def decode_frames(frames: Iterable[str | bytes]) -> Decoded:
    """Read combined-stream frames; what makes no sense is skipped and reported."""
    decoded = Decoded()
    add = decoded.trades.append
    decode = _frame_decoder.decode
    newest = decoded.event_times
    newest_of = newest.get
    for frame in frames:
        try:
            message = decode(frame)
            data = message.data
            if type(data) is _Trade:
                first_id = last_id = data.t
                is_plain = data.M is not ABSENT and message.stream is not ABSENT
                colons = _TRADE_COLONS
            elif type(data) is _Aggregate:
                first_id, last_id = data.f, data.l
                is_plain = data.M is not ABSENT and data.a is not ABSENT and message.stream is not ABSENT
                colons = _AGGREGATE_COLONS
            elif type(data) is _ServerShutdown:
                decoded.shutdown = True
                continue
            else:  # the answer to a subscription
                if bytes(message.error) not in (b"", b"null"):
                    decoded.refused.append(Refused(Refusal.SUBSCRIPTION, excerpt(frame)))
                continue
            text, quantity = data.p, parse_units(data.q)
            price = _parse_price(text) if len(text) <= _PRICE_KEPT_MAX else parse_units(text)
            time, event_time = data.T, data.E
            if time < MICROSECONDS_FROM:  # ``microseconds``, inlined: every trade passes here
                time *= 1000
            if event_time < MICROSECONDS_FROM:
                event_time *= 1000
        except (msgspec.MsgspecError, ValueError, RecursionError):
            decoded.refused.append(diagnose_frame(frame))
            continue
        is_plain = is_plain and isinstance(frame, str) and frame.count(":") == colons
        if not (
            trade_fits(first_id, last_id, price, quantity, time)
            and EXCHANGE_TIME_MIN <= event_time < EXCHANGE_TIME_MAX
            and time <= event_time + EVENT_LEAD_MAX
        ):
            if (first_id, last_id) != NO_IDS:  # the exchange sends aggregates of no trades
                decoded.refused.append(diagnose_frame(frame))
        elif not is_plain and has_doubled_keys(frame):
            decoded.refused.append(diagnose_frame(frame))
        else:
            symbol = data.s
            if event_time > newest_of(symbol, 0):
                newest[symbol] = event_time
            add(Trade(symbol, first_id, last_id, price, quantity, time, data.m))
    return decoded
