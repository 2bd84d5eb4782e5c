"""``candled watch`` without a screen: a line for each message."""

import json
from datetime import tzinfo
from typing import TYPE_CHECKING

from candled.cli.output import plain_value
from candled.cli.times import show_time

if TYPE_CHECKING:
    from candled.client import Message

_FIELDS = (
    "symbol", "interval", "open_time", "close_time", "open", "high", "low", "close", "volume", "quote_volume",
    "trade_count", "taker_buy_volume", "taker_buy_quote_volume", "first_trade_id", "last_trade_id", "closed",
    "complete", "revision",
)  # fmt: skip


def text_line(message: "Message", zone: tzinfo) -> str:
    """One message for people: what happened, the bar, and what is wrong with it."""
    kind = message.kind.value
    bar = message.bar
    if bar is None:
        return f"{kind:<9} {show_time(message.send_time, zone)}"
    flags = [] if bar.complete or not bar.closed else ["incomplete"]
    if bar.revision:
        flags.append(f"revision {bar.revision}")
    return "  ".join(
        (
            f"{kind:<9} {bar.symbol} {bar.interval} {show_time(bar.open_time, zone)}",
            f"O {bar.open:f}  H {bar.high:f}  L {bar.low:f}  C {bar.close:f}",
            f"V {bar.volume:f}  trades {bar.trade_count}",
            *flags,
        )
    )


def json_line(message: "Message", zone: tzinfo) -> str:
    """One message for programs: one JSON object, decimals as strings."""
    bar = message.bar
    document = {
        "kind": message.kind.value,
        "sequence": message.sequence,
        "exchange_time": plain_value(message.exchange_time, zone),
        "send_time": plain_value(message.send_time, zone),
        "bar": None if bar is None else {name: plain_value(getattr(bar, name), zone) for name in _FIELDS},
    }
    return json.dumps(document, ensure_ascii=False)
