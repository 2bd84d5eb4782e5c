"""Plausible lies: a trade or a kline that could be one of the market, but is not what happened."""

import re
from random import Random
from typing import Final

import msgspec

from candled.embedded_exchange.lies.fields import misstated
from candled.embedded_exchange.units import decimal_text

_UNIT: Final = 10**8
_NUMBER: Final = {
    "price": re.compile(r'"(?:p|price)":"(\d+(?:\.\d{1,8})?)"'),
    "quantity": re.compile(r'"(?:q|qty|size)":"(\d+(?:\.\d{1,8})?)"'),
}
_SIDE: Final = re.compile(r'("(?:m|isBuyerMaker)":|"side":")(true|false|buy|sell)')
_OTHER_SIDE: Final = {"true": "false", "false": "true", "buy": "sell", "sell": "buy"}
_OPEN, _HIGH, _LOW, _CLOSE, _VOLUME, _COUNT = 1, 2, 3, 4, 5, 8


def contradict_trade(text: str, rng: Random) -> str:
    """The trade with another price, quantity or side."""
    what = rng.choice(("price", "quantity", "side"))
    if what == "side":
        return _SIDE.sub(lambda found: found[1] + _OTHER_SIDE[found[2]], text, count=1)
    return with_other_number(text, what, rng)


def with_other_number(text: str, field: str, rng: Random) -> str:
    """The trade with another ``price`` or ``quantity``, near the true one and with no more decimals."""
    found = _NUMBER[field].search(text)
    if found is None:
        return text
    units = _units(found[1])
    unit = 1
    while unit < _UNIT and units % (unit * 10) == 0:
        unit *= 10
    step = max(1, units // unit // 1_000) * unit * rng.choice((1, 7, 50))
    return misstated(text, field, decimal_text(units + step))


def contradict_kline(row: str, rng: Random) -> str:
    """The kline with another number of trades, volume or range, consistent in itself."""
    kline = msgspec.json.decode(row)
    match rng.choice(("count", "volume", "range")):
        case "count":
            kline[_COUNT] = kline[_COUNT] + rng.choice((1, 3, 1_000))
        case "volume":
            kline[_VOLUME] = decimal_text(_units(kline[_VOLUME]) + rng.choice((1, 5 * _UNIT)))
        case _:
            kline[_HIGH] = decimal_text(_units(kline[_HIGH]) + _UNIT)
    return msgspec.json.encode(kline).decode()


def wrong_kline(row: str, rng: Random) -> str:
    """The kline contradicting itself, or in a form that is none."""
    kline = msgspec.json.decode(row)
    match rng.randrange(7):
        case 0:
            kline[_HIGH], kline[_LOW] = kline[_LOW], decimal_text(_units(kline[_HIGH]) + _UNIT)
        case 1:
            kline[_COUNT] = rng.choice((-1, 10**12, "12", None))
        case 2:
            kline[0] += rng.choice((1, 59_999, 10**15))
        case 3:
            kline = kline[: rng.randrange(len(kline))]
        case 4:
            kline[rng.choice((_OPEN, _CLOSE, _VOLUME))] = rng.choice(("NaN", "1E-7", None, 1.5, "9" * 40))
        case 5:
            return f"{row},{contradict_kline(row, rng)}"
        case _:
            return '{"openTime":' + str(kline[0]) + "}"
    return msgspec.json.encode(kline).decode()


def _units(text: str) -> int:
    whole, _, part = text.partition(".")
    return int(whole + part.ljust(8, "0"))
