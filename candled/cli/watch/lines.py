"""Lines of ``candled watch`` without a screen."""

import json
from datetime import tzinfo

from candled.cli.output import plain_value
from candled.cli.times import show_time
from candled.client import Heartbeat, Message

_FIELDS = (
    "symbol", "interval", "open_time", "close_time", "open", "high", "low", "close", "volume", "quote_volume",
    "trade_count", "taker_buy_volume", "taker_buy_quote_volume", "first_trade_id", "last_trade_id", "closed",
    "complete", "revision",
)  # fmt: skip


def text_line(message: Message | Heartbeat, zone: tzinfo) -> str:
    """Format a message as readable text: kind, bar, and marks."""
    kind = message.kind.value
    if not isinstance(message, Message):
        return f"{kind:<9} {show_time(message.send_time, zone)}"
    bar = message.bar
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


def json_line(message: Message | Heartbeat, zone: tzinfo) -> str:
    """Format a message as one JSON object; decimals are strings."""
    bar = message.bar if isinstance(message, Message) else None
    document = {
        "kind": message.kind.value,
        "sequence": message.sequence,
        "exchange_time": plain_value(message.exchange_time, zone),
        "send_time": plain_value(message.send_time, zone),
        "bar": None if bar is None else {name: plain_value(getattr(bar, name), zone) for name in _FIELDS},
    }
    return json.dumps(document, ensure_ascii=False)
