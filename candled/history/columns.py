"""Convert bars to columns and back: the only module that maps scaled integers to exact decimal columns.

A stored row is one revision of one closed 1-minute bar. Its columns are named as the bar's fields are; trade ids
are NULL in a bar without trades. ``position`` is that revision's place in the journal's order.
"""

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, Final

import pyarrow as pa

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.event import BarEvent
from candled.domain.numbers import DECIMALS, PRODUCT_DECIMALS, format_units
from candled.history.column_names import ROW_COLUMNS

PRICE: Final = pa.decimal128(18, DECIMALS)
VOLUME: Final = pa.decimal128(28, DECIMALS)
QUOTE_VOLUME: Final = pa.decimal128(38, DECIMALS)
"""Where the exchange truncates each fill to eight decimals; see ``row_schema``."""
_TIME: Final = pa.timestamp("us", tz="UTC")

SEGMENT_SCHEMA: Final = pa.schema(
    [
        pa.field("open_time", _TIME, nullable=False),
        pa.field("close_time", _TIME, nullable=False),
        pa.field("open", PRICE, nullable=False),
        pa.field("high", PRICE, nullable=False),
        pa.field("low", PRICE, nullable=False),
        pa.field("close", PRICE, nullable=False),
        pa.field("volume", VOLUME, nullable=False),
        pa.field("quote_volume", QUOTE_VOLUME, nullable=False),
        pa.field("trade_count", pa.int64(), nullable=False),
        pa.field("taker_buy_volume", VOLUME, nullable=False),
        pa.field("taker_buy_quote_volume", QUOTE_VOLUME, nullable=False),
        pa.field("first_trade_id", pa.int64()),
        pa.field("last_trade_id", pa.int64()),
        pa.field("previous_trade_id", pa.int64()),
        pa.field("complete", pa.bool_(), nullable=False),
        pa.field("revision", pa.int64(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),
    ]
)
"""Columns of a sealed file: symbol and interval are in its path."""

ROW_SCHEMA: Final = SEGMENT_SCHEMA.insert(0, pa.field("symbol", pa.string(), nullable=False))
"""Columns of files with more than one symbol: the journal and the recent files."""

assert tuple(ROW_SCHEMA.names) == ROW_COLUMNS


def row_schema(quote_decimals: int) -> pa.Schema:
    """Return ``ROW_SCHEMA`` for quote volumes of ``decimals`` decimals: one scale per directory."""
    schema = ROW_SCHEMA
    for name in _QUOTES:
        index = schema.get_field_index(name)
        schema = schema.set(index, pa.field(name, pa.decimal128(38, quote_decimals), nullable=False))
    return schema


def cast_rows(rows: pa.Table) -> pa.Table:
    """Cast rows, or some columns of them, from a database, where any may be null, to their own schema."""
    schema = row_schema(rows.schema.field(_QUOTES[0]).type.scale)
    return rows.cast(pa.schema([schema.field(name) for name in rows.schema.names]))


_BAR_FIELDS: Final = tuple(ROW_SCHEMA)[:-1]
"""Columns of the bar itself; the last column, ``position``, is the event's."""
_BAR_VALUES: Final = attrgetter(*(field.name for field in _BAR_FIELDS))
_SCALES: Final = (DECIMALS, PRODUCT_DECIMALS)
_QUOTES: Final = ("quote_volume", "taker_buy_quote_volume")
_BYTES = 16  # of a decimal128


def rows_from_events(events: Sequence[BarEvent]) -> pa.Table:
    """Convert events to rows, one for each, in order.

    Raises:
        ValueError: a number does not fit its column; the text names the bar. Or quote volumes differ in scale.
    """
    if not events:
        return ROW_SCHEMA.empty_table()
    bars = [event.bar for event in events]
    if len(scales := {bar.quote_decimals for bar in bars}) != 1:
        raise ValueError(f"bars of quote volumes with {sorted(scales)} decimals do not go into one table")
    schema = row_schema(*scales)
    # Transposed at once: attribute by attribute costs four times as much with thousands of symbols.
    columns: list[pa.Array] = []
    for field, values in zip(tuple(schema)[:-1], zip(*map(_BAR_VALUES, bars), strict=True), strict=True):
        if pa.types.is_decimal(field.type):
            columns.append(_decimals(values, field, bars))
        elif field.nullable:
            columns.append(pa.array([None if value == NO_TRADE else value for value in values], field.type))
        else:
            columns.append(pa.array(values, field.type))
    columns.append(pa.array([event.position for event in events], pa.int64()))
    return pa.table(columns, schema=schema)


def bars_from_rows(table: pa.Table, interval: str) -> list[Bar]:
    """Convert a table with the row columns to bars, in order. All are closed."""
    quote_decimals = table.schema.field(_QUOTES[0]).type.scale
    return [
        Bar(
            symbol=symbol,
            interval=interval,
            open_time=open_time,
            close_time=close_time,
            open=open_,
            high=high,
            low=low,
            close=close,
            volume=volume,
            quote_volume=quote_volume,
            trade_count=trade_count,
            taker_buy_volume=taker_buy_volume,
            taker_buy_quote_volume=taker_buy_quote_volume,
            first_trade_id=NO_TRADE if first is None else first,
            last_trade_id=NO_TRADE if last is None else last,
            previous_trade_id=NO_TRADE if previous is None else previous,
            closed=True,
            complete=complete,
            revision=revision,
            quote_decimals=quote_decimals,
        )
        for (
            symbol,
            open_time,
            close_time,
            open_,
            high,
            low,
            close,
            volume,
            quote_volume,
            trade_count,
            taker_buy_volume,
            taker_buy_quote_volume,
            first,
            last,
            previous,
            complete,
            revision,
            _position,
        ) in zip(*(column_values(table.column(name)) for name in ROW_COLUMNS), strict=True)
    ]


def positions_from_rows(table: pa.Table) -> list[int]:
    """Return the position of each row in the journal's order."""
    positions: list[int] = table.column("position").to_pylist()
    return positions


def _decimals(values: Sequence[int], field: pa.Field, bars: Sequence[Bar]) -> pa.Array:
    limit = 10**field.type.precision
    if max(values, default=0) >= limit or min(values, default=0) <= -limit:
        index = next(index for index, value in enumerate(values) if abs(value) >= limit)
        raise ValueError(
            f"{field.name} {format_units(values[index])} of {bars[index].symbol} at {bars[index].open_time} "
            f"is too large for its column {field.type}"
        )
    data = b"".join([value.to_bytes(_BYTES, "little", signed=True) for value in values])
    return pa.Array.from_buffers(field.type, len(values), [None, pa.py_buffer(data)])


def column_values(column: pa.ChunkedArray) -> Iterable[Any]:
    """Convert a column to Python values: decimals in units of their scale, times in microseconds."""
    if pa.types.is_decimal(column.type):
        return [value for chunk in column.chunks for value in _units(chunk)]
    if pa.types.is_timestamp(column.type):
        values: list[object] = column.cast(pa.int64()).to_pylist()
        return values
    others: list[object] = column.to_pylist()
    return others


def _units(array: pa.Array) -> Iterable[int]:
    if array.type.scale not in _SCALES or array.null_count:
        raise ValueError(f"expected exact decimals with {DECIMALS} places, not {array.type}")
    buffer = array.buffers()[1]
    words = memoryview(buffer)[array.offset * _BYTES : (array.offset + len(array)) * _BYTES]
    low, high = words.cast("Q")[0::2], words.cast("q")[1::2]
    return [(above << 64) | below for above, below in zip(high, low, strict=True)]
