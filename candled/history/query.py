"""The SQL that makes bars of files: newest revision of each minute, and every longer interval from minutes.

The same text serves the outside reader, whose file lists are found at each query, and the daemon, which names the
files and adds the rows that are not published yet.
"""

from typing import Final

from candled.domain.interval import DAY, INTERVALS, MINUTE, ONE_MINUTE
from candled.history.columns import BAR_COLUMNS, ROW_COLUMNS


def text(value: str) -> str:
    """A string as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


_ROWS: Final = ", ".join(ROW_COLUMNS)
_SUMS: Final = ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
_BARS: Final = ", ".join(
    {"closed": "true AS closed"}.get(name, f"{name}::DECIMAL(38, 8) AS {name}" if name in _SUMS else name)
    for name in BAR_COLUMNS
)
_SEALED_OPTIONS: Final = "hive_partitioning = true, hive_types_autocast = false"
_LONGER: Final = [interval for interval in INTERVALS.values() if interval is not ONE_MINUTE]
_LENGTHS: Final = (
    "MAP {"
    + ", ".join(f"{text(rule.name)}: INTERVAL {(rule.length or 31 * DAY) // MINUTE} MINUTE" for rule in _LONGER)
    + "}"
)
"""How much of time a longer bar takes at most."""
_INTERVAL_ROWS: Final = ", ".join(
    f"({text(rule.name)}, {'NULL' if rule.length is None else rule.length}::BIGINT, {rule.offset}::BIGINT)"
    for rule in _LONGER
)


def file_list(paths: list[str]) -> str:
    """File paths as an SQL list."""
    return f"[{', '.join(text(path) for path in paths)}]"


def sealed_rows(files: str) -> str:
    """Rows of sealed files; ``files`` is an SQL list."""
    return f"SELECT {_ROWS} FROM read_parquet({files}, {_SEALED_OPTIONS})"


def recent_rows(files: str) -> str:
    """Rows of recent files, every revision; ``files`` is an SQL list."""
    return f"SELECT {_ROWS} FROM read_parquet({files}, hive_partitioning = false)"


def newest_rows(rows: str) -> str:
    """The newest revision of each bar among ``rows``, a query or a table."""
    return (
        f"SELECT {_ROWS} FROM ({rows}) QUALIFY row_number() OVER "
        "(PARTITION BY symbol, open_time ORDER BY revision DESC, position DESC) = 1"
    )


def minutes(sealed: str, recent: str) -> str:
    """Newest revision of each minute. Sealed rows are unique; recent ones, of any revision, override them.

    Recent rows are named twice, so that a filter on symbol or time reaches both places: whoever lists their files
    sees to it that both get the same list.
    """
    return (
        f"{newest_rows(recent)} UNION ALL SELECT {_ROWS} "
        f"FROM ({sealed}) ANTI JOIN (SELECT symbol, open_time FROM ({recent})) USING (symbol, open_time)"
    )


def closing_positions(minutes: str) -> str:
    """The same minutes; one before a hole has the position of the minute after the hole, if that is higher.

    A longer bar whose last minute is not there closes with the first minute after its end: both are told at
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


def longer_rows(minutes: str) -> str:
    """Bars of every longer interval from minutes, forming ones too, with the columns of rows and ``interval``.

    As ``domain.merge_bars``: a minute without trades adds nothing unless all are empty.
    """
    return f"""
SELECT symbol, interval, bucket AS open_time, bucket_end AS close_time,
       coalesce(arg_min(open, minute) FILTER (trade_count > 0), arg_min(open, minute)) AS open,
       coalesce(max(high) FILTER (trade_count > 0), arg_min(high, minute)) AS high,
       coalesce(min(low) FILTER (trade_count > 0), arg_min(low, minute)) AS low,
       coalesce(arg_max(close, minute) FILTER (trade_count > 0), arg_min(close, minute)) AS close,
       sum(trade_count)::BIGINT AS trade_count,
       {", ".join(f"sum({name})::DECIMAL(38, 8) AS {name}" for name in _SUMS)},
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
    FROM ({minutes}), (VALUES {_INTERVAL_ROWS}) intervals(interval, length, start)
)
WHERE interval <> '1m'
GROUP BY symbol, interval, bucket, bucket_end"""


def longer_bars(minutes: str, newest: str) -> str:
    """As ``longer_rows``, without those that are still forming.

    ``newest`` gives each symbol's newest minute: a longer bar is closed when that minute ends at its end or later.
    """
    return (
        f"SELECT {', '.join('longer.' + name for name in ('interval', *_without('previous_trade_id')))}, "
        "CASE WHEN known_before >= 0 THEN known_before END AS previous_trade_id "
        f"FROM ({longer_rows(minutes)}) longer JOIN ({newest}) newest USING (symbol) "
        "WHERE longer.close_time <= newest.known_until"
    )


def newest_minutes(rows: str) -> str:
    """Where each symbol's bars end, as ``longer_bars`` wants it."""
    return f"SELECT symbol, max(close_time) AS known_until FROM ({rows}) GROUP BY symbol"


def all_bars(minutes: str, newest: str, *, longer_minutes: str | None = None) -> str:
    """The view ``bars``: the columns that the specification names, every interval.

    ``longer_minutes`` are those that longer intervals are made of, if they are not the same.
    """
    one_minute = f"SELECT *, '1m' AS interval FROM ({minutes})"
    longer = longer_bars(longer_minutes or minutes, newest)
    return f"SELECT {_BARS} FROM ({one_minute}) UNION ALL SELECT {_BARS} FROM ({longer})"


def bars_between(minutes: str, newest: str) -> str:
    """Definition of the table macro of that name: bars of one interval and a time, from those minutes alone.

    A filter on the open time of a longer bar does not tell DuckDB which minutes it needs; here it is told.
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
