"""What anyone with DuckDB reads, also while the daemon writes."""

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from itertools import cycle, groupby, product
from pathlib import Path

import duckdb
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from candled.domain.bar import NO_TRADE, Bar, merge_bars
from candled.domain.interval import INTERVALS, MINUTE, ONE_MINUTE
from candled.domain.numbers import to_decimal
from candled.history import DataDirectoryError, HistorySettings, connect, open_history
from candled.history.checksums import checksum
from candled.history.query import connect as connecting
from candled.history.segments import paths
from candled.history.segments.names import Recent
from tests.history.bars import START, events, minute

COLUMNS = [
    *("symbol", "interval", "open_time", "close_time", "open", "high", "low", "close", "volume", "quote_volume"),
    *("trade_count", "taker_buy_volume", "taker_buy_quote_volume", "first_trade_id", "last_trade_id"),
    *("closed", "complete", "revision"),
]
NUMBERS = {"open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume"}
SETTINGS = HistorySettings(grace=0.0)


def write(path: Path, bars: Sequence[Bar], *, seal: bool = True) -> None:
    async def main() -> None:
        async with open_history(path, exchange="x", settings=SETTINGS) as history:
            await history.store(events(bars, history.epoch << 32))
            await history.publish()
            while seal and await history.keep():
                pass

    trio.run(main)


def rows_of(bars: Iterable[Bar]) -> set[tuple[object, ...]]:
    def value(bar: Bar, name: str) -> object:
        number = getattr(bar, name)
        if name in NUMBERS:
            return to_decimal(number)
        return None if name.endswith("trade_id") and number == NO_TRADE else number

    return {tuple(value(bar, name) for name in COLUMNS) for bar in bars}


def read(connection: duckdb.DuckDBPyConnection, where: str = "true") -> set[tuple[object, ...]]:
    chosen = ", ".join(f"epoch_us({name})" if name.endswith("_time") else name for name in COLUMNS)
    rows = connection.execute(f"SELECT {chosen} FROM bars WHERE {where}").fetchall()
    assert len(rows) == len(set(rows))
    return set(rows)


def longer(minutes: Sequence[Bar]) -> list[Bar]:
    """Every closed longer bar, by the domain's own merge."""
    found = []
    for rule in INTERVALS.values():
        for open_time, group in groupby(minutes, key=lambda bar: rule.floor(bar.open_time)):
            if rule is not ONE_MINUTE and rule.end(open_time) <= minutes[-1].close_time:
                merged = merge_bars(list(group), rule)
                found.append(
                    Bar(**{**{name: getattr(merged, name) for name in merged.__struct_fields__}, "closed": True})
                )
    return found


# Around midnights that end a week (Sunday 4 January) and a month, and some in between.
EDGES = [0, 4 * 1440, 31 * 1440, 59 * 1440]
numbers = st.sets(
    st.one_of([st.integers(edge - 6, edge + 6) for edge in EDGES] + [st.integers(0, 60 * 1440)]),
    min_size=1,
    max_size=40,
)


@st.composite
def symbol_minutes(draw: st.DrawFn, symbol: str) -> list[Bar]:
    return [
        minute(
            number,
            symbol,
            trades=draw(st.sampled_from([0, 0, 1, 5])),
            complete=draw(st.booleans()),
            revision=draw(st.integers(0, 3)),
        )
        for number in sorted(draw(numbers))
    ]


@settings(max_examples=3, deadline=None)
@given(st.tuples(*(symbol_minutes(symbol) for symbol in ("BTCUSDT", "币安人生USDT", "O'NEIL/%41", "1000"))))
def test_every_interval_equals_the_domains_merge(
    tmp_path_factory: pytest.TempPathFactory, symbols: tuple[list[Bar], ...]
) -> None:
    path = tmp_path_factory.mktemp("data")
    write(path, [bar for minutes in symbols for bar in minutes])
    with connect(path) as connection:
        for minutes in symbols:
            symbol = minutes[0].symbol.replace("'", "''")
            assert rows_of([*minutes, *longer(minutes)]) == read(connection, f"symbol = '{symbol}'")


def test_whole_hours_and_days_are_complete(tmp_path: Path) -> None:
    minutes = [minute(number, trades=number % 3, complete=number != 100) for number in range(3 * 1440)]
    write(tmp_path, minutes)
    with connect(tmp_path) as connection:
        assert rows_of([*minutes, *longer(minutes)]) == read(connection)
        incomplete = connection.execute(
            "SELECT interval FROM bars WHERE NOT complete AND interval IN ('1h', '1d', '4h')"
        )
        assert sorted(incomplete.fetchall()) == [("1d",), ("1h",), ("4h",)]


def test_view_columns_and_zone(tmp_path: Path) -> None:
    """The view has the documented columns, with times in UTC."""
    write(tmp_path, [minute(0)], seal=False)
    with connect(tmp_path) as connection:
        described = {row[0]: row[1] for row in connection.execute("DESCRIBE bars").fetchall()}
        assert list(described) == COLUMNS
        assert described["open"] == "DECIMAL(18,8)"
        assert described["volume"] == described["quote_volume"] == "DECIMAL(38,8)"
        assert described["open_time"] == "TIMESTAMP WITH TIME ZONE"
        assert connection.execute("SELECT open_time::VARCHAR FROM bars").fetchone() == ("2026-01-01 00:00:00+00",)


def test_connection_sees_later_publications(tmp_path: Path) -> None:
    write(tmp_path, [minute(0)])
    with connect(tmp_path) as connection:
        assert len(read(connection)) == 1
        write(tmp_path, [minute(number) for number in range(1, 2 * 1440)])
        assert len(read(connection, "interval = '1m'")) == 2 * 1440
        assert len(read(connection.cursor(), "interval = '1m'")) == 2 * 1440


def test_an_empty_directory_gives_an_empty_view(tmp_path: Path) -> None:
    write(tmp_path, [])
    with connect(tmp_path) as connection:
        assert read(connection) == set()


@pytest.mark.parametrize("there", [True, False])
def test_folder_without_bars_is_named(tmp_path: Path, there: bool) -> None:
    path = tmp_path / "data"
    if there:
        path.mkdir()
    with pytest.raises(DataDirectoryError, match=r"is not a candled data directory: give the one"):
        connect(path)


def test_special_characters_in_the_path(tmp_path: Path) -> None:
    path = tmp_path / "a [b]*'c"
    write(path, [minute(0), minute(3000)])
    with connect(path) as connection:
        assert len(read(connection, "interval = '1m'")) == 2


def test_read_parquet_works_on_sealed_files(tmp_path: Path) -> None:
    minutes = [minute(number) for number in range(2 * 1440 + 61)]
    write(tmp_path, minutes)
    rows = duckdb.execute(
        f"SELECT symbol, interval, epoch_us(open_time), close FROM read_parquet('{tmp_path}/bars/**/*.parquet') "
        "ORDER BY open_time"
    ).fetchall()
    sealed = [bar for bar in minutes if bar.open_time < START + 2 * 1440 * MINUTE]
    assert [("BTCUSDT", "1m", bar.open_time, to_decimal(bar.close)) for bar in sealed] == rows


def test_reading_beside_the_daemon(tmp_path: Path) -> None:
    """Another process reads while the daemon holds the directory."""

    async def main() -> str:
        async with open_history(tmp_path, exchange="x", settings=SETTINGS) as history:
            await history.store(events([minute(0), minute(1)], history.epoch << 32))
            await history.publish()
            script = (
                "import sys; from candled.history import connect; con = connect(sys.argv[1])\n"
                "print(con.execute(\"SELECT count(*) FROM bars WHERE interval = '1m'\").fetchone())"
            )
            command = [sys.executable, "-c", script, str(tmp_path)]
            done = await trio.run_process(command, capture_stdout=True, stderr=subprocess.STDOUT)
            return bytes(done.stdout).decode()

    assert trio.run(main) == "(2,)\n"


def test_months_and_days_are_in_utc(tmp_path: Path) -> None:
    write(tmp_path, [minute(number) for number in range(0, 32 * 1440, 10)])
    script = (
        "import sys; from candled.history import connect; con = connect(sys.argv[1]).cursor()\n"
        "print(con.execute(\"SELECT open_time::VARCHAR FROM bars WHERE interval IN ('1M', '1w') "
        'ORDER BY interval, 1").fetchall()[:2])'
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    environment = {**os.environ, "TZ": "America/New_York"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[('2026-01-01 00:00:00+00',), ('2025-12-29 00:00:00+00',)]\n"
    assert done.stderr == ""


def test_files_changed_during_planning_duplicate_no_bars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    minutes = [minute(number) for number in range(1440 + 61)]
    write(tmp_path, minutes)  # sealed, and carried over into a recent file without the sealed rows
    sealed = paths.list_directory(tmp_path)
    together = tmp_path / "together.parquet"
    duckdb.sql(
        f"COPY (SELECT * FROM read_parquet('{tmp_path}/bars/**/*.parquet') UNION ALL BY NAME "
        f"SELECT * FROM read_parquet({list(map(str, sealed['recent']))})) TO '{together}'"
    )
    whole = together.rename(tmp_path / Recent(1, 9, checksum=checksum(together.read_bytes())).name)
    unsealed: dict[str, list[Path]] = {"recent": [whole], "sealed": [], "newest": []}
    listings = cycle([unsealed, sealed])
    monkeypatch.setattr(connecting, "list_directory", lambda _root, _symbols: next(listings))
    with connect(tmp_path) as connection:
        for _ in range(4):
            assert len(read(connection, "interval = '1m'")) == len(minutes)
        connection.execute("PREPARE counted AS SELECT count(*) FROM minutes")
        for _ in range(3):
            assert connection.execute("EXECUTE counted").fetchall() == [(len(minutes),)]


@pytest.mark.parametrize("interval", INTERVALS)
def test_bars_between_equals_the_view(tmp_path: Path, interval: str) -> None:
    write(tmp_path, [minute(number, symbol) for number in range(0, 70 * 1440, 97) for symbol in ("A", "B")])
    chosen = ", ".join(COLUMNS)
    with connect(tmp_path) as connection:
        for since, until in product(
            ("2025-12-29", "2026-01-05 00:01", "2026-02-01"), ("2026-02-02", "2026-03-01 12:00")
        ):
            between = connection.execute(
                f"SELECT {chosen} FROM bars_between(?, ?::TIMESTAMPTZ, ?::TIMESTAMPTZ) ORDER BY symbol, open_time",
                [interval, since, until],
            ).fetchall()
            seen = connection.execute(
                f"SELECT {chosen} FROM bars WHERE interval = '{interval}' AND open_time >= '{since}' "
                f"AND open_time < '{until}' ORDER BY symbol, open_time"
            ).fetchall()
            assert seen == between
            assert between or interval in ("1M", "1w")
