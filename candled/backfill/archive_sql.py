"""SQL over the rows of an archive file: how its text is read, what fits, and the sums of each minute. Plain."""

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Final

from candled.domain.limits import (
    AGGREGATE_TRADES_MAX,
    EXCHANGE_TIME_MAX,
    EXCHANGE_TIME_MIN,
    MINUTE_TRADES_MAX,
    QUANTITY_MAX,
    QUOTE_MAX,
    QUOTE_VOLUME_MAX,
    TRADE_ID_MAX,
    VOLUME_MAX,
)
from candled.domain.numbers import format_units
from candled.history import sql

_MINUTE: Final = 60_000_000
_MICROSECONDS_FROM: Final = 10**14
"""A time above this is in microseconds: as milliseconds it would lie in the year 5138."""


class ArchiveKind(Enum):
    """Kind of the rows of an archive file, from its name."""

    TRADES = "trades"
    AGGREGATE_TRADES = "aggTrades"
    KLINES = "1m"


COLUMNS: Final = {
    ArchiveKind.TRADES: {
        "first_id": "BIGINT",
        "price": "DECIMAL(18, 8)",
        "quantity": "{width}",
        "quote": "{width}",
        "raw_time": "BIGINT",
        "buyer_is_maker": "BOOLEAN",
        "best_match": "VARCHAR",
    },
    ArchiveKind.AGGREGATE_TRADES: {
        "aggregate_id": "BIGINT",
        "price": "DECIMAL(18, 8)",
        "quantity": "{width}",
        "first_id": "BIGINT",
        "last_id": "BIGINT",
        "raw_time": "BIGINT",
        "buyer_is_maker": "BOOLEAN",
        "best_match": "VARCHAR",
    },
    ArchiveKind.KLINES: {
        "raw_time": "BIGINT",
        "open": "DECIMAL(18, 8)",
        "high": "DECIMAL(18, 8)",
        "low": "DECIMAL(18, 8)",
        "close": "DECIMAL(18, 8)",
        "volume": "{width}",
        "raw_close_time": "BIGINT",
        "quote_volume": "{width}",
        "trade_count": "BIGINT",
        "taker_buy_volume": "{width}",
        "taker_buy_quote_volume": "{width}",
        "ignored": "VARCHAR",
    },
}


def typed_rows(kind: ArchiveKind, csv: Path, header: bool, width: str) -> str:
    """Return a query for all rows of a file by typed columns; ``width``: the type of quantities."""
    types = {name: type_.format(width=width) for name, type_ in COLUMNS[kind].items()}
    return f"(SELECT *, {_TIME} AS time FROM {_csv(csv, header, types, 'false')})"


def good_rows(kind: ArchiveKind, csv: Path, header: bool) -> str:
    """Return a query for the rows of a file whose values all parse and lie within the domain's limits."""
    types = {name: type_.format(width="DECIMAL(38, 8)") for name, type_ in COLUMNS[kind].items()}
    texts = _csv(csv, header, dict.fromkeys(types, "VARCHAR"), "true")
    values = ", ".join(f"try_cast({name} AS {type_}) AS {name}" for name, type_ in types.items())
    plain = " AND ".join(
        f"regexp_full_match({name}, '{_PLAIN[type_]}')" for name, type_ in types.items() if type_ in _PLAIN
    )
    typed = f"(SELECT {values} FROM {texts} WHERE {plain})"
    there = " AND ".join(f"{name} IS NOT NULL" for name, type_ in types.items() if type_ != "VARCHAR")
    return f"SELECT * FROM (SELECT *, {_TIME} AS time FROM {typed} WHERE {there}) WHERE {_FITS[kind]}"


def _csv(csv: Path, header: bool, types: Mapping[str, str], skips_errors: str) -> str:
    columns = ", ".join(f"{sql.text(name)}: {sql.text(type_)}" for name, type_ in types.items())
    return (
        f"read_csv({sql.text(str(csv))}, header = {str(header).lower()}, columns = {{{columns}}}, "
        f"ignore_errors = {skips_errors}, auto_detect = false, delim = ',', quote = '', escape = '', "
        "nullstr = '\\N', max_line_size = 1000)"
    )


_TIME: Final = f"CASE WHEN raw_time >= {_MICROSECONDS_FROM} THEN raw_time ELSE raw_time * 1000 END"
_PLAIN: Final = {
    "BIGINT": "[0-9]{1,19}",
    "DECIMAL(18, 8)": r"[0-9]{1,30}(\.[0-9]{0,8}0*)?",
    "DECIMAL(38, 8)": r"[0-9]{1,30}(\.[0-9]{0,8}0*)?",
}
"""Text form of a number of each type."""
_IN_TIME: Final = f"time >= {EXCHANGE_TIME_MIN} AND time < {EXCHANGE_TIME_MAX}"
_QUANTITY_FITS: Final = f"quantity BETWEEN 0 AND {format_units(QUANTITY_MAX)} AND price >= 0"
_LAST_ID: Final = {ArchiveKind.TRADES: "first_id", ArchiveKind.AGGREGATE_TRADES: "last_id"}
_PRODUCT: Final = "price::DECIMAL(38, 8) * quantity::DECIMAL(38, 8)"
_QUOTE: Final = {
    ArchiveKind.TRADES: "quote",
    ArchiveKind.AGGREGATE_TRADES: f"trunc({_PRODUCT}, 8)::DECIMAL(38, 8)",
}
_STATES_ITS_PRODUCT: Final = {
    ArchiveKind.TRADES: (
        "price::DECIMAL(38, 8) * quantity::DECIMAL(38, 8) - quote BETWEEN 0 AND 0.0000000099999999"
    ),
    ArchiveKind.AGGREGATE_TRADES: "true",
}
"""Whether a row does not contradict itself: its quote is price x quantity, truncated to eight decimals."""
_FITS: Final = {
    ArchiveKind.TRADES: (
        f"coalesce({_IN_TIME} AND {_QUANTITY_FITS} AND first_id >= 0 AND first_id < {TRADE_ID_MAX} "
        f"AND quote BETWEEN 0 AND {format_units(QUOTE_MAX)}, false)"
    ),
    ArchiveKind.AGGREGATE_TRADES: (
        f"coalesce({_IN_TIME} AND {_QUANTITY_FITS} AND first_id >= 0 AND last_id < {TRADE_ID_MAX} "
        f"AND last_id - first_id BETWEEN 0 AND {AGGREGATE_TRADES_MAX - 1} "
        f"AND TRY({_PRODUCT}) <= {format_units(QUOTE_MAX)}, false)"
    ),
    ArchiveKind.KLINES: (
        f"coalesce({_IN_TIME} AND abs(volume) <= {format_units(VOLUME_MAX)} "
        f"AND abs(quote_volume) <= {format_units(QUOTE_VOLUME_MAX)} "
        f"AND abs(taker_buy_volume) <= {format_units(VOLUME_MAX)} "
        f"AND abs(taker_buy_quote_volume) <= {format_units(QUOTE_VOLUME_MAX)} "
        f"AND abs(trade_count) <= {MINUTE_TRADES_MAX}, false)"
    ),
}
"""Whether a row lies within the domain's limits. ``check_bars`` compares a kline's values."""
_ALL_FIT_OF_TRADES: Final = (
    f"min(time) >= {EXCHANGE_TIME_MIN} AND max(time) < {EXCHANGE_TIME_MAX} AND min(price) >= 0 "
    f"AND min(quantity) >= 0 AND max(quantity) <= {format_units(QUANTITY_MAX)} AND min(first_id) >= 0"
)
_ALL_FIT: Final = {
    ArchiveKind.TRADES: f"{_ALL_FIT_OF_TRADES} AND min(quote) >= 0 AND max(quote) <= {format_units(QUOTE_MAX)}",
    ArchiveKind.AGGREGATE_TRADES: (
        f"{_ALL_FIT_OF_TRADES} AND min(last_id - first_id) >= 0 "
        f"AND max(last_id - first_id) < {AGGREGATE_TRADES_MAX} "
        f"AND max({_QUOTE[ArchiveKind.AGGREGATE_TRADES]}) <= {format_units(QUOTE_MAX)}"
    ),
}
"""The same of all rows of a minute: cheaper than row by row, if a column has no missing value."""
OPEN_TIME: Final = f"time - time % {_MINUTE}"


def _decimals(column: str) -> str:
    """Count the decimals of a number without its trailing zeros."""
    steps = " ".join(f"WHEN {column} = trunc({column}, {n}) THEN {n}" for n in range(8))
    return f"CASE {steps} ELSE 8 END"


def _sums(kind: ArchiveKind, where: str = "true") -> str:
    """Return the sums of a minute's rows as SQL columns, over the rows that match ``where``."""
    last_id, quote, only = _LAST_ID[kind], _QUOTE[kind], f"FILTER ({where})"
    taken = f"FILTER ({where} AND NOT buyer_is_maker)"
    # Of raw trades nothing depends on their decimals.
    finest = (
        f"max({_decimals('price')}) {only} AS price_decimals, "
        f"max({_decimals('quantity')}) {only} AS quantity_decimals, "
        f"bool_or(last_id > first_id) {only} AS has_aggregates, count(*) FILTER ({where} AND last_id = first_id) "
        if kind is ArchiveKind.AGGREGATE_TRADES
        else "0 AS price_decimals, 0 AS quantity_decimals, false AS has_aggregates, 0 "
    )
    return f"""
make_timestamptz({OPEN_TIME}) AS open_time,
arg_min(price, first_id) {only} AS open, max(price) {only} AS high, min(price) {only} AS low,
arg_max(price, first_id) {only} AS close,
sum(quantity) {only} AS volume, sum({quote}) {only} AS quote_volume,
(sum({last_id} - first_id + 1) {only})::BIGINT AS trade_count,
coalesce(sum(quantity) {taken}, 0) AS taker_buy_volume,
coalesce(sum({quote}) {taken}, 0) AS taker_buy_quote_volume,
min(first_id) {only} AS first_trade_id, max({last_id}) {only} AS last_trade_id,
{finest} AS single_fills"""


def minutes_as_they_stand(kind: ArchiveKind, rows: str) -> str:
    """Return a query for the minutes of all rows; ``whole``: each id exactly once, without gap or placeholder.

    Each id range contributes the hashes of its first id and of the one after its last. Where the ranges lie end to
    end, each id once, all of them cancel out but the two at the ends; the counts agree too.
    """
    last_id = _LAST_ID[kind]
    return f"""
SELECT {_sums(kind)}, NOT bool_and({_STATES_ITS_PRODUCT[kind]}) AS has_disputed,
       sum({last_id} - first_id + 1) = max({last_id}) - min(first_id) + 1
           AND xor(bit_xor(hash(first_id)), bit_xor(hash({last_id} + 1)))
               = xor(hash(min(first_id)), hash(max({last_id}) + 1))
           AND min(price) > 0 AND min(quantity) > 0 AND bool_and({_STATES_ITS_PRODUCT[kind]}) AS whole,
       {_ALL_FIT[kind]} AS fits
FROM {rows}
GROUP BY ALL ORDER BY open_time"""


def single_rows(kind: ArchiveKind, rows: str) -> str:
    """Return a query for distinct rows; ``disputed``: it contradicts itself, or another row on one of its ids."""
    last_id = f"{_LAST_ID[kind]} AS last_id" if kind is ArchiveKind.TRADES else "last_id"
    quote = ", quote" if kind is ArchiveKind.TRADES else ""
    return f"""
SELECT *, price > 0 AND quantity > 0 AS is_trade,
       coalesce(first_id <= max(last_id) OVER (in_order ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), false)
       OR coalesce(last_id >= lead(first_id) OVER in_order, false)
       OR NOT {_STATES_ITS_PRODUCT[kind]} AS disputed
FROM (SELECT DISTINCT first_id, {last_id}, price, quantity{quote}, time, buyer_is_maker FROM {rows})
WINDOW in_order AS (ORDER BY first_id, last_id)"""


def minutes_of_single_rows(kind: ArchiveKind) -> str:
    """Return a query for the minutes of the trades that no other row contradicts."""
    sums = _sums(kind, "is_trade AND NOT disputed")
    return f"""
SELECT * FROM (SELECT {sums}, bool_or(disputed) AS has_disputed FROM trades GROUP BY ALL)
WHERE trade_count > 0 ORDER BY open_time"""


ISLANDS: Final = """
SELECT min(first_id), max(last_id)
FROM (SELECT first_id, last_id, sum(starts) OVER (ORDER BY first_id) AS island
      FROM (SELECT *, (first_id IS DISTINCT FROM lag(last_id) OVER (ORDER BY first_id) + 1)::INTEGER AS starts
            FROM trades WHERE NOT disputed))
GROUP BY island ORDER BY 1"""
"""Runs of ids that were seen."""

KLINES: Final = f"""
SELECT DISTINCT make_timestamptz(time) AS open_time, open, high, low, close, volume, quote_volume, trade_count,
       taker_buy_volume, taker_buy_quote_volume,
       NULL::BIGINT AS first_trade_id, NULL::BIGINT AS last_trade_id, true AS exact,
       {_FITS[ArchiveKind.KLINES]} AS fits
FROM {{rows}}"""
