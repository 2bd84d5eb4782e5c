"""Wrong fields of a trade's message or row: values, types, keys and ids."""

import re
from collections.abc import Callable, Mapping
from random import Random
from typing import Final

FIELDS: Final = {
    "price": ("p", "price"),
    "quantity": ("q", "qty", "size"),
    "id": ("t", "f", "id", "trade_id"),
    "time": ("T", "time"),
}
"""The names of each field: in messages and aggregates, and in rows of trades, of every form."""
MISSING: Final = "missing"
DOUBLED: Final = "doubled"

_NUMBERS: Final = (
    *("9" * 30, "1E-7", "NaN", "-1.00000000", "0.000000001", "Infinity", "", "1,5", " 1"),
    *("0x10", "1_000", "+1.0", "．５", "--1", "1e400"),
)
WRONG_VALUES: Final[Mapping[str, tuple[str, ...]]] = {
    "price": ("10000000000.00000000", *_NUMBERS),
    "quantity": ("1000000000000.00000000", *_NUMBERS),
    "id": (str(2**63), str(2**64), "-1", "-9223372036854775808", "1.5", "1e3", "9" * 40),
    "time": ("-1", "0", str(10**18), str(2**63), "9" * 40, "1.5"),
}
"""Values that cannot be, by field."""
_OTHER_TYPES: Final = ("null", "true", "[]", "{}", '""', "0.5", "-1", "[[[[[[[[1]]]]]]]]")
_TRADES: Final = ('"e":"trade"', '"e":"aggTrade"', '"type":"match"', '"type":"last_match"')
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?")
_ID_JUMP: Final = 10**9
_FIRST_ID: Final = re.compile(r'"(?:t|f|id|trade_id)":(-?\d+)')
_LAST_ID: Final = re.compile(r'"l":(-?\d+)')


def is_trade(text: str) -> bool:
    """Whether a message is about a trade, and not a kline, a heartbeat or a notice."""
    return any(kind in text for kind in _TRADES)


def ids_of(text: str) -> tuple[int, int] | None:
    """The first and last trade id of a message or a row; None if it has none."""
    first, last = _FIRST_ID.search(text), _LAST_ID.search(text)
    if first is None:
        return None
    return int(first[1]), int((last or first)[1])


def misstated(text: str, field: str, value: str) -> str:
    """The text of a trade with another value of one field; in quotes where the true one is."""
    found = _find(text, field)
    if found is None:
        return text
    before, after = text[: found.start()], text[found.end() :]
    if value == MISSING:
        return _joined(before, after)
    if value == DOUBLED:
        return f"{before}{found[0]},{found[0]}{after}"
    key = found[0].partition(":")[0]
    return f"{before}{key}:{found[1]}{value}{found[1]}{after}"


def _find(text: str, field: str) -> re.Match[str] | None:
    keys = "|".join(FIELDS[field])
    return re.search(rf'"(?:{keys})":("?)[^",}}]*\1', text)


def _wrong_value(text: str, rng: Random) -> str:
    field = rng.choice(tuple(FIELDS))
    return misstated(text, field, rng.choice(WRONG_VALUES[field]))


def _wrong_type(text: str, rng: Random) -> str:
    found = _find(text, rng.choice(tuple(FIELDS)))
    if found is None:
        return text
    key, _, value = found[0].partition(":")
    as_the_other = value[1:-1] if found[1] else f'"{value}"'
    if found[1] and not _NUMBER.fullmatch(as_the_other):
        as_the_other = "1700000000000"  # of a time in words nothing would be left that is JSON
    wrong = rng.choice((*_OTHER_TYPES, as_the_other))
    return f"{text[: found.start()]}{key}:{wrong}{text[found.end() :]}"


def _wrong_key(text: str, rng: Random) -> str:
    field = rng.choice(tuple(FIELDS))
    found = _find(text, field)
    if found is None:
        return text
    key, _, value = found[0].partition(":")
    changed = (
        "",
        f"{found[0]},{found[0]}",
        f'{found[0]},{key}:"1.00000000"',
        f'"{key[1:-1].swapcase()}_":{value}',
        f'{found[0]},"{"x" * rng.choice((1, 1_000))}":[{{"a":null}}]',
    )
    after = text[found.end() :]
    put, before = rng.choice(changed), text[: found.start()]
    return before + put + after if put else _joined(before, after)


def _joined(before: str, after: str) -> str:
    """The text without the field between these two, and without its comma."""
    return before + after[1:] if after.startswith(",") else before.removesuffix(",") + after


def _wrong_id(text: str, rng: Random) -> str:
    ids = ids_of(text)
    if ids is None:
        return text
    wrong = rng.choice((ids[0] + _ID_JUMP, 2**63 - 1, max(0, ids[0] - 1), ids[0] + 3))
    shifted = _FIRST_ID.sub(lambda found: f"{found[0].partition(':')[0]}:{wrong}", text, count=1)
    return _LAST_ID.sub(f'"l":{min(2**63 - 1, wrong + ids[1] - ids[0])}', shifted, count=1)


FIELD_LIES: Final[Mapping[str, Callable[[str, Random], str]]] = {
    "wrong_value": _wrong_value,
    "wrong_type": _wrong_type,
    "wrong_key": _wrong_key,
    "wrong_id": _wrong_id,
}
"""By the name of the fault."""
