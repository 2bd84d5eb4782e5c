"""Coinbase's messages, and trades made of them: the gate of its streams.

Forms: "WebSocket Channels" of its API documents. No frame raises, and every trade that leaves here lies within the
domain's limits; what does not is refused alone, with the reason and, where it has any, its id. Kinds of messages
that are not known are left alone, as the documents ask for.

Every message takes one typed decoding and a count of colons: if there are as many as the message has fields (and
its time has two), and each field is there, then none is there twice. Anything else is looked at again, slowly.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from candled.domain.feed_event import NewestId
from candled.domain.limits import ID_JUMP_MAX, TRADE_ID_MAX, is_symbol
from candled.domain.refusal import Refusal, Refused
from candled.feed.adapter import Decoded
from candled.feed.coinbase.trades import has_colons, make_trade, parse_time, refused
from candled.feed.gate import ABSENT, excerpt, has_doubled_keys, is_exchange_time, read_json, unreadable

HEARTBEAT_LAG: Final = 5_000_000
"""By which a trade may reach the streams later than a heartbeat of its time, microseconds: what a heartbeat states
counts for the time that much before it. The documents name no bound; matches come within tenths of a second."""

_MATCH_COLONS: Final = 12
"""Of the ten fields of a match, and the two in its time."""
_HEARTBEAT_COLONS: Final = 7
_MATCHES: Final = ("match", "last_match")


class _Message(msgspec.Struct, gc=False):
    """Every kind of message: a match, a heartbeat, the answer to a subscription."""

    type: str
    product_id: str = ""
    trade_id: int = -1
    side: str = ""
    size: str = ""
    price: str = ""
    time: str = ""
    last_trade_id: int = -1
    sequence: msgspec.Raw = ABSENT
    maker: msgspec.Raw = msgspec.field(name="maker_order_id", default=ABSENT)
    taker: msgspec.Raw = msgspec.field(name="taker_order_id", default=ABSENT)


_decoder: Final = msgspec.json.Decoder(_Message)


def decode_frames(frames: Iterable[str | bytes]) -> Decoded:
    """Read frames; what makes no sense is skipped and reported."""
    decoded = Decoded()
    for frame in frames:
        try:
            message = _decoder.decode(frame)
            if message.type in _MATCHES:
                _take_match(message, frame, decoded)
            elif message.type == "heartbeat":
                _take_heartbeat(message, frame, decoded)
            elif message.type == "error":
                decoded.refused.append(Refused(Refusal.SUBSCRIPTION, excerpt(frame)))
        except (msgspec.MsgspecError, ValueError, KeyError, RecursionError):
            refusal = _diagnose(frame)
            if refusal is not None:
                decoded.refused.append(refusal)
    return decoded


def _take_match(message: _Message, frame: str | bytes, decoded: Decoded) -> None:
    """Take the trade of a match.

    Raises:
        ValueError: it makes no sense.
        KeyError: its side is none.
    """
    symbol = message.product_id
    is_plain = (
        message.sequence is not ABSENT
        and message.maker is not ABSENT
        and message.taker is not ABSENT
        and isinstance(frame, str)
        and has_colons(frame, _MATCH_COLONS)
    )
    trade = make_trade(symbol, message.trade_id, message.price, message.size, message.time, message.side)
    if trade is None or not symbol or (not is_plain and has_doubled_keys(frame)):
        raise ValueError("no match")
    if message.type == "last_match":
        decoded.last_trades.append(trade)
        return
    decoded.trades.append(trade)
    if trade.time > decoded.event_times.get(symbol, 0):
        decoded.event_times[symbol] = trade.time


def _take_heartbeat(message: _Message, frame: str | bytes, decoded: Decoded) -> None:
    """Take what a heartbeat states. It once stated 0 for more than a year, which says nothing.

    Raises:
        ValueError: it makes no sense.
    """
    time, symbol = parse_time(message.time), message.product_id
    is_plain = (
        message.sequence is not ABSENT
        and message.last_trade_id >= 0
        and isinstance(frame, str)
        and has_colons(frame, _HEARTBEAT_COLONS)
    )
    in_limits = is_exchange_time(time) and -1 <= message.last_trade_id <= TRADE_ID_MAX - ID_JUMP_MAX
    if not in_limits or not symbol or (not is_plain and has_doubled_keys(frame)):
        raise ValueError("no heartbeat")
    if time > decoded.event_times.get(symbol, 0):
        decoded.event_times[symbol] = time
    if message.last_trade_id > 0:
        decoded.newest_ids.append(NewestId(symbol, message.last_trade_id, time - HEARTBEAT_LAG))


def _diagnose(frame: str | bytes) -> Refused | None:
    """Say why a frame was refused; None if it is of no kind that is read."""
    message: Any = read_json(frame)
    if not isinstance(message, dict):
        return Refused(unreadable(message), excerpt(frame))
    symbol, kind = message.get("product_id"), message.get("type")
    if isinstance(kind, str) and kind not in (*_MATCHES, "heartbeat", "error"):
        return None
    if not isinstance(symbol, str) or not is_symbol(symbol):
        return Refused(Refusal.FORM, excerpt(frame))
    if kind not in _MATCHES:
        return Refused(Refusal.FORM, excerpt(frame), symbol)
    return refused(message, frame, symbol)
