"""Messages of Coinbase for tests, each field of which can be stated otherwise."""

import json
from typing import Any

_NOBODY = "00000000-0000-0000-0000-000000000000"


def match(**changes: Any) -> str:
    """A match; a field of None is left out."""
    fields = {
        "type": "match",
        "trade_id": 1568268,
        "maker_order_id": _NOBODY,
        "taker_order_id": _NOBODY,
        "side": "sell",
        "size": "985",
        "price": "0.00001305",
        "product_id": "SKL-BTC",
        "sequence": 177100018,
        "time": "2021-04-17T16:43:37.089723Z",
    }
    return json.dumps({name: value for name, value in (fields | changes).items() if value is not None})


def heartbeat(**changes: Any) -> str:
    """A heartbeat; a field of None is left out."""
    fields = {
        "type": "heartbeat",
        "last_trade_id": 20,
        "product_id": "SKL-BTC",
        "sequence": 90,
        "time": "2021-04-17T16:43:40.000000Z",
    }
    return json.dumps({name: value for name, value in (fields | changes).items() if value is not None})
