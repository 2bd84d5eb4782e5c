"""SQL that builds bars from files: the newest revision of each minute, and every longer interval from minutes.

Readers outside of the daemon list the files at each query; the daemon names the files and adds unpublished rows.
"""

from collections.abc import Sequence
from typing import Final

from candled.domain.interval import DAY, INTERVALS, MINUTE, ONE_MINUTE, Interval
from candled.domain.limits import (
    EXACT_QUOTE_MAX,
    EXCHANGE_TIME_MAX,
    MINUTE_TRADES_MAX,
    QUOTE_VOLUME_MAX,
    VOLUME_MAX,
)
from candled.domain.numbers import DECIMALS, ONE, format_units
from candled.history.column_names import BAR_COLUMNS, ROW_COLUMNS


def text(value: str) -> str:
    """Quote a string as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


_ROWS: Final = ", ".join(ROW_COLUMNS)
_VOLUMES: Final = ("volume", "taker_buy_volume")
_QUOTES: Final = ("quote_volume", "taker_buy_quote_volume")
"""Their columns are as wide as a sum already, and of the scale of the directory's exchange."""
_BARS: Final = ", ".join(
    {"closed": "true AS closed"}.get(name, f"{name}::DECIMAL(38, 8) AS {name}" if name in _VOLUMES else name)
    for name in BAR_COLUMNS
)
_SEALED_OPTIONS: Final = "hive_partitioning = true, hive_types_autocast = false"
_LONGER: Final = [interval for interval in INTERVALS.values() if interval is not ONE_MINUTE]
_LENGTHS: Final = (
    "MAP {"
    + ", ".join(f"{text(rule.name)}: INTERVAL {(rule.length or 31 * DAY) // MINUTE} MINUTE" for rule in _LONGER)
    + "}"
)
"""Maximum length of each longer bar."""


def file_list(paths: list[str]) -> str:
    """Format file paths as an SQL list."""
    return f"[{', '.join(text(path) for path in paths)}]"


def sealed_rows(files: str) -> str:
    """Return a query for the rows of sealed files; ``files`` is an SQL list."""
    return f"SELECT {_ROWS} FROM read_parquet({files}, {_SEALED_OPTIONS})"


def recent_rows(files: str) -> str:
    """Return a query for every revision in recent files; ``files`` is an SQL list."""
    return f"SELECT {_ROWS} FROM read_parquet({files}, hive_partitioning = false)"


def newest_rows(rows: str) -> str:
    """Return a query for the newest revision of each bar among ``rows``, a query or a table."""
    return (
        f"SELECT {_ROWS} FROM ({rows}) QUALIFY row_number() OVER "
        "(PARTITION BY symbol, open_time ORDER BY revision DESC, position DESC) = 1"
    )


def minutes(sealed: str, recent: str) -> str:
    """Return a query for the newest revision of each minute; recent rows override sealed ones.

    Recent rows are named twice, so that a filter on symbol or time reaches both places: the caller must pass
    the same list of files to both.
    """
    return (
        f"{newest_rows(recent)} UNION ALL SELECT {_ROWS} "
        f"FROM ({sealed}) ANTI JOIN (SELECT symbol, open_time FROM ({recent})) USING (symbol, open_time)"
    )


def closing_positions(minutes: str) -> str:
    """Return a query for minutes where one before a hole has at least the position of the one after it.

    A longer bar whose last minute is missing closes with the first minute after its end: both are emitted at
    one position.
    """
    return (
        "SELECT * REPLACE (CASE WHEN lead(open_time) OVER later > close_time "
        "THEN greatest(position, lead(position) OVER later) ELSE position END AS position) "
        f"FROM ({minutes}) WINDOW later AS (PARTITION BY symbol ORDER BY open_time)"
    )


def first_reached(minutes: str, changed: str) -> str:
    """Open time of the earliest minute whose longer bars may have changed, microseconds.

    ``changed``: which minutes have. The one before the first of each symbol is reached too: ``closing_positions``.
    """
    return (
        f"WITH minutes AS ({minutes}), "
        f"firsts AS (SELECT symbol, min(open_time) AS first FROM minutes WHERE {changed} GROUP BY symbol) "
        "SELECT epoch_us(min(reached)) FROM (SELECT coalesce(max(open_time) FILTER (open_time < first), first) "
        "AS reached FROM minutes JOIN firsts USING (symbol) GROUP BY symbol, first)"
    )


_EXACT_MINUTE_MAX: Final = EXACT_QUOTE_MAX * MINUTE_TRADES_MAX // ONE
_ADDABLE: Final = (
    f"volume <= {format_units(VOLUME_MAX)} AND quote_volume::HUGEINT <= CASE typeof(quote_volume) "
    f"WHEN 'DECIMAL(38,{DECIMALS})' THEN {QUOTE_VOLUME_MAX // ONE}::HUGEINT ELSE {_EXACT_MINUTE_MAX}::HUGEINT END "
    f"AND trade_count <= {MINUTE_TRADES_MAX} "
    f"AND open_time BETWEEN make_timestamptz(0) AND make_timestamptz({EXCHANGE_TIME_MAX})"
)
"""Minutes that longer bars are built from."""


def longer_rows(minutes: str, rules: Sequence[Interval] = _LONGER) -> str:
    """Return a query for bars of longer intervals, forming ones too, with the row columns and ``interval``.

    As ``domain.merge_bars``: a minute without trades adds nothing unless all are empty. A stored minute beyond the
    limits of the domain is left out, so that no sum overflows; the bar is then not complete.
    """
    intervals = ", ".join(
        f"({text(rule.name)}, {'NULL' if rule.length is None else rule.length}::BIGINT, {rule.offset}::BIGINT)"
        for rule in rules
    )
    return f"""
SELECT symbol, interval, bucket AS open_time, bucket_end AS close_time,
       coalesce(arg_min(open, minute) FILTER (trade_count > 0), arg_min(open, minute)) AS open,
       coalesce(max(high) FILTER (trade_count > 0), arg_min(high, minute)) AS high,
       coalesce(min(low) FILTER (trade_count > 0), arg_min(low, minute)) AS low,
       coalesce(arg_max(close, minute) FILTER (trade_count > 0), arg_min(close, minute)) AS close,
       sum(trade_count)::BIGINT AS trade_count,
       {", ".join(f"sum({name})::DECIMAL(38, 8) AS {name}" for name in _VOLUMES)},
       {", ".join(f"sum({name}) AS {name}" for name in _QUOTES)},
       arg_min(first_trade_id, minute) FILTER (trade_count > 0) AS first_trade_id,
       arg_max(last_trade_id, minute) FILTER (trade_count > 0) AS last_trade_id,
       arg_min(coalesce(previous_trade_id, -1), minute) AS known_before,
       bool_and(complete) AND count(*) * {MINUTE} = epoch_us(bucket_end) - epoch_us(bucket) AS complete,
       sum(revision)::BIGINT AS revision,
       max(position) AS position
FROM (
    SELECT * EXCLUDE (open_time, close_time), open_time AS minute,
           CASE WHEN length IS NULL THEN date_trunc('month', open_time)
                ELSE make_timestamptz(epoch_us(open_time) - (epoch_us(open_time) - start) % length) END AS bucket,
           CASE WHEN length IS NULL THEN date_trunc('month', open_time) + INTERVAL 1 MONTH
                ELSE make_timestamptz(epoch_us(open_time) - (epoch_us(open_time) - start) % length + length)
           END AS bucket_end
    FROM ({minutes}), (VALUES {intervals}) intervals(interval, length, start)
    WHERE {_ADDABLE}
)
WHERE interval <> '1m'
GROUP BY symbol, interval, bucket, bucket_end"""


def longer_bars(minutes: str, newest: str, rules: Sequence[Interval] = _LONGER) -> str:
    """Return a query like ``longer_rows`` for closed bars only.

    ``newest`` gives each symbol's newest minute: a longer bar is closed when that minute ends at its end or later.
    """
    return (
        f"SELECT {', '.join('longer.' + name for name in ('interval', *_without('previous_trade_id')))}, "
        "CASE WHEN known_before >= 0 THEN known_before END AS previous_trade_id "
        f"FROM ({longer_rows(minutes, rules)}) longer JOIN ({newest}) newest USING (symbol) "
        "WHERE longer.close_time <= newest.known_until"
    )


def newest_minutes(rows: str) -> str:
    """Return a query for the end of each symbol's bars, as ``longer_bars`` takes it."""
    return f"SELECT symbol, max(close_time) AS known_until FROM ({rows}) GROUP BY symbol"


def all_bars(minutes: str, newest: str, *, longer_minutes: str | None = None) -> str:
    """Return the query of the view ``bars``: its documented columns, every interval.

    ``longer_minutes``: the minutes of longer intervals, if they differ from ``minutes``.
    """
    one_minute = f"SELECT *, '1m' AS interval FROM ({minutes})"
    longer = longer_bars(longer_minutes or minutes, newest)
    return f"SELECT {_BARS} FROM ({one_minute}) UNION ALL SELECT {_BARS} FROM ({longer})"


def bars_between(minutes: str, newest: str) -> str:
    """Return the definition of the table macro ``bars_between``, which reads only the minutes of its time range.

    DuckDB cannot derive the minutes needed from a filter on a longer bar's open time; the macro states them.
    """
    of_time = f"FROM ({minutes}) WHERE open_time >= since AND open_time < until"
    up_to_the_end = f"FROM ({minutes}) WHERE open_time >= since AND open_time < until + {_LENGTHS}[of_interval]"
    bars = all_bars(of_time, newest, longer_minutes=up_to_the_end)
    return (
        "CREATE MACRO bars_between(of_interval, since, until) AS TABLE "
        f"SELECT * FROM ({bars}) WHERE interval = of_interval AND open_time >= since AND open_time < until"
    )


def _without(excluded: str) -> list[str]:
    return [name for name in ROW_COLUMNS if name != excluded]
