"""The history's figures: commits, queries over a year, an archive's import, sizes.

usage: python -m benchmarks.history [--trades N] [--output FILE]

Limits stand beside the figures, measured in the same run on the same disk: a bare write and fsync, DuckDB's
commit of one row, plain DuckDB over the same Parquet files, and DuckDB's own exact SQL over the archive's CSV. The
imported bars are compared with the daemon's per-trade sums over the same file. Two minutes on an idle machine.
"""

import argparse
import datetime as dt
import os
import platform
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import trio

from candled.backfill.binance_archive import parse_archive, read_minutes
from candled.domain.bar import Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.interval import DAY, INTERVALS, MINUTE
from candled.domain.numbers import parse_units, to_decimal
from candled.domain.trade import Trade
from candled.engine.minute import Minute
from candled.history import connect, open_history
from candled.history.checksums import checksum
from candled.history.database import open_memory_database
from candled.history.durable_io import Files
from candled.history.segments.names import Segment
from candled.history.segments.parquet import encode_segment
from candled.history.segments.paths import segment_path

lines: list[str] = []
"""The record so far."""
START = 1_735_689_600_000_000  # 2025-01-01
ROUNDS = 3
SYMBOLS = ("BTCUSDT", "ETHUSDT", "PEPEUSDT")
PRICES = (96_000.0, 3_400.0, 0.00002)
EXACT_SQL = """
SELECT time // 60000000 AS minute, arg_min(price, id), max(price), min(price), arg_max(price, id), sum(quantity),
       sum(trunc(price::DECIMAL(38, 8) * quantity::DECIMAL(38, 8), 8)), count(*),
       sum(quantity) FILTER (NOT maker),
       sum(trunc(price::DECIMAL(38, 8) * quantity::DECIMAL(38, 8), 8)) FILTER (NOT maker), min(id), max(id)
FROM read_csv('{csv}', header = false, auto_detect = false, delim = ',', columns = {{
    id: 'BIGINT', price: 'DECIMAL(18, 8)', quantity: 'DECIMAL(18, 8)', quote: 'DECIMAL(38, 8)', time: 'BIGINT',
    maker: 'BOOLEAN', best: 'BOOLEAN'}})
GROUP BY 1"""


def minute(symbol: str, open_time: int) -> Bar:
    number = open_time // MINUTE
    price = 9_600_000_000_000 + number * 7919 % 10**9
    return Bar(
        *(symbol, "1m", open_time, open_time + MINUTE, price, price + 500, price - 300, price + 7),
        *(123_456_789, 987_654_321_098, 220, 61_728_394, 493_827_160, number * 220, number * 220 + 219),
        *(number * 220 - 1, True, True, 0),
    )


def bare_limits(path: Path) -> None:
    """What the disk and DuckDB take for the least that a commit can be."""
    path.mkdir()

    def write_and_sync() -> None:
        os.write(descriptor, b"\0" * 600)
        os.fdatasync(descriptor)

    descriptor = os.open(path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    synced = timed(write_and_sync, 200)
    os.close(descriptor)
    connection = duckdb.connect(str(path / "one.duckdb"), config={"threads": "1"})
    connection.execute("CREATE TABLE one (number BIGINT)")
    committed = timed(lambda: connection.execute("INSERT INTO one VALUES (1)"), 200)
    connection.close()
    say("limit: write and fdatasync of 600 bytes", spread(synced))
    say("limit: DuckDB's commit of one row of one column", spread(committed))


async def commit_cost(path: Path, symbols: int, rounds: int) -> None:
    names = [f"SYM{number}USDT" for number in range(symbols)]
    spent, published = [], []
    used = 0.0
    async with open_history(path, exchange="benchmark") as history:
        position = history.epoch << 32
        for number in range(rounds):
            bars = [minute(name, START + number * MINUTE) for name in names]
            events = [
                BarEvent(BarEventKind.CLOSE, bar, bar.close_time, position + i) for i, bar in enumerate(bars)
            ]
            position += symbols
            started, used_before = time.perf_counter(), time.process_time()
            await history.store(events)
            spent.append(time.perf_counter() - started)
            used += time.process_time() - used_before
            started = time.perf_counter()
            await history.publish()
            published.append(time.perf_counter() - started)
    say(
        f"commit of a closed minute, {symbols} symbols",
        f"{spread(spent)} (must be below {5 if symbols < 100 else 50}), "
        f"worst {max(spent) * 1e3:.1f} ms, processor {used / rounds * 1e3:.1f} ms",
    )
    say(f"publication of a minute, {symbols} symbols", spread(published))


async def make_year(path: Path) -> None:
    """A year of three symbols as months, and the newest day as the daemon leaves it."""
    async with open_history(path, exchange="benchmark"):
        pass
    connection = open_memory_database()
    month = INTERVALS["1M"]
    for symbol, price in zip(SYMBOLS, PRICES, strict=True):
        start = START
        while start < START + 365 * DAY:
            end = month.end(start)
            # A walk in ticks of a cent or so, volumes with few digits: about what real bars compress to.
            rows = connection.sql(
                f"SELECT make_timestamptz(t) AS open_time, make_timestamptz(t + {MINUTE}) AS close_time, "
                "p AS open, p + 3 * tick AS high, p - 2 * tick AS low, p + tick AS close, "
                "v AS volume, (v * p::DECIMAL(20, 8))::DECIMAL(38, 8) AS quote_volume, "
                "n AS trade_count, "
                "(v / 2)::DECIMAL(28, 5) AS taker_buy_volume, 0 AS taker_buy_quote_volume, "
                "t // 1000 AS first_trade_id, t // 1000 + n - 1 AS last_trade_id, "
                "t // 1000 - 1 AS previous_trade_id, "
                f"true AS complete, 0 AS revision, {1 << 32} + t // {MINUTE} AS position "
                "FROM (SELECT t, (random() * 1000)::BIGINT AS n, (random() * 100)::DECIMAL(18, 5) AS v, "
                f"({price} * (1 + 0.1 * sin(t / 1e12) + 0.001 * random()))"
                f"::DECIMAL(18, {8 if price < 1 else 2}) AS p, "
                f"{price / 10_000}::DECIMAL(18, 8) AS tick "
                f"FROM (SELECT unnest(range({start}, {end}, {MINUTE})) AS t)) ORDER BY open_time"
            ).to_arrow_table()
            content = encode_segment(rows)
            segment = Segment(symbol, start, end, 1, checksum(content))
            Files().publish(segment_path(path, segment), content)
            start = end
    async with open_history(path, exchange="benchmark") as history:
        newest = [
            minute(symbol, START + 365 * DAY + number * MINUTE) for number in range(1440) for symbol in SYMBOLS
        ]
        await history.store([BarEvent(BarEventKind.CLOSE, bar, bar.close_time, 1) for bar in newest])
        await history.publish()


def queries(path: Path) -> None:
    files = [file for file in path.rglob("*.parquet") if file.stat().st_size and "bars" in file.parts]
    size = sum(file.stat().st_size for file in files)
    say("files and bytes of a symbol's year", f"{len(files) / 3:.0f} files, {size / 3 / 1e6:.1f} MB")
    started = time.perf_counter()
    connect(path).close()
    say("connect", f"{(time.perf_counter() - started) * 1e3:.0f} ms")
    for name, work in {
        "CRC-32 of every sealed file, one thread": lambda: [checksum(file.read_bytes()) for file in files],
        "first count of all minutes, files checked": lambda: count_minutes(path, check=True),
        "first count of all minutes, not checked": lambda: count_minutes(path, check=False),
        "first count of one symbol's minutes, its files checked": lambda: count_minutes(path, ["ETHUSDT"]),
        "limit: PyArrow's page checksums of every sealed file": lambda: [
            pq.ParquetFile(file, page_checksum_verification=True).read() for file in files
        ],
    }.items():
        say(f"year of 3 symbols: {name}", f"{spread(timed(work, 3))}, processor {processor_ms(work, 2):.0f} ms")
    sealed = f"read_parquet('{path}/bars/**/*.parquet')"
    june_10 = "TIMESTAMPTZ '2025-06-10', TIMESTAMPTZ '2025-06-11'"
    totals = "SELECT symbol, count(*), max(high), min(low), sum(volume), sum(quote_volume), sum(trade_count)"
    with connect(path) as connection:
        day = "symbol = 'ETHUSDT' AND open_time >= '2025-06-10' AND open_time < '2025-06-11'"
        for name, sql in {
            "limit: plain DuckDB over the sealed files, one symbol's day": f"SELECT * FROM {sealed} WHERE {day}",
            "limit: plain DuckDB over the sealed files, full scan": f"{totals} FROM {sealed} GROUP BY symbol",
            "one symbol's day, 1m (must be below 60)": f"SELECT * FROM bars WHERE interval = '1m' AND {day}",
            "full scan, 1m (must be below 400)": f"{totals} FROM bars WHERE interval = '1m' GROUP BY symbol",
            "one symbol's day, 1h, by the view": f"SELECT * FROM bars WHERE interval = '1h' AND {day}",
            "one symbol's day, 1h, by bars_between": f"SELECT * FROM bars_between('1h', {june_10}) "
            "WHERE symbol = 'ETHUSDT'",
            "every 1d bar": "SELECT * FROM bars WHERE interval = '1d'",
        }.items():
            query = partial(fetch, connection, sql)
            times, cpu = timed(query, 5), processor_ms(query, 3)
            say(
                f"year of 3 symbols: {name}",
                f"{spread(times)}, processor {cpu:.0f} ms",
            )


def fetch(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    connection.sql(sql).to_arrow_table()


def count_minutes(path: Path, symbols: list[str] | None = None, *, check: bool = True) -> None:
    with connect(path, symbols=symbols, check=check) as connection:
        connection.sql("SELECT count(*) FROM minutes").fetchall()


def importing(path: Path, trades: int) -> None:
    path.mkdir()
    csv = path / "trades.csv"
    duckdb.sql(
        "COPY (SELECT i, (96000 + (i % 9973) / 100)::DECIMAL(18, 8), "
        "((i * 7919 % 100003) / 1e5)::DECIMAL(18, 8) + 0.00001,"
        " trunc(((96000 + (i % 9973) / 100)::DECIMAL(18, 8))::DECIMAL(38, 8) * "
        "(((i * 7919 % 100003) / 1e5)::DECIMAL(18, 8) + 0.00001)::DECIMAL(38, 8), 8)::DECIMAL(38, 8), "
        f"{START} + i * {DAY // trades}, i % 3 = 0, true FROM range({trades}) r(i)) TO '{csv}' (HEADER false)"
    )
    archive = path / "BTCUSDT-trades-2025-01-01.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        packed.write(csv, "BTCUSDT-trades-2025-01-01.csv")
    connection = open_memory_database()
    staging = path / "staging"
    staging.mkdir()
    rounds = [
        (
            taken(lambda: connection.sql(EXACT_SQL.format(csv=csv)).to_arrow_table()),
            taken(lambda: read_minutes(parse_archive(archive), staging)),
            taken(partial(trio.run, import_whole, path / f"data-{number}", archive)),
        )
        for number in range(ROUNDS)
    ]
    (own, own_cpu), (ours, ours_cpu), (whole, whole_cpu) = (
        (min(wall for wall, _ in times), min(cpu for _, cpu in times)) for times in zip(*rounds, strict=True)
    )
    say(f"archive of {trades / 1e6:g}M trades to bars", f"{trades / ours / 1e6:.2f} Mtrades/s, from the zip")
    say("archive into a data directory", f"{trades / whole / 1e6:.2f} Mtrades/s, from the zip")
    say("DuckDB's own exact SQL, from the unpacked CSV", f"{trades / own / 1e6:.2f} Mtrades/s")
    say(
        "ratio, archive to bars (must reach 0.5)",
        f"{own / ours:.2f} by the clock, {own_cpu / ours_cpu:.2f} of processor; best of {ROUNDS} in turn",
    )
    say("ratio, into a data directory", f"{own / whole:.2f} by the clock, {own_cpu / whole_cpu:.2f} of processor")
    expected = per_trade_sums(csv)
    with connect(path / "data-0") as stored:
        rows = stored.execute(
            "SELECT epoch_us(open_time), open, high, low, close, volume, quote_volume, trade_count, "
            "taker_buy_volume, taker_buy_quote_volume, first_trade_id, last_trade_id "
            "FROM bars WHERE interval = '1m' ORDER BY open_time"
        ).fetchall()
    same = rows == expected
    say("imported bars equal the per-trade sums in every field", f"{'yes' if same else 'NO'}, {len(rows)} bars")
    if not same:
        raise SystemExit("the import is not exact")


def per_trade_sums(csv: Path) -> list[tuple[object, ...]]:
    """The archive's minutes by the daemon's own aggregator, trade by trade."""
    minutes: dict[int, Minute] = {}
    with csv.open(encoding="ascii") as file:
        for line in file:
            number, price, quantity, _quote, at, maker, _best = line.split(",")
            moment = int(at)
            open_time = moment - moment % MINUTE
            found = minutes.get(open_time)
            if found is None:
                found = minutes[open_time] = Minute("BTCUSDT", open_time)
            trade_id = int(number)
            found.add(
                Trade(
                    "BTCUSDT",
                    trade_id,
                    trade_id,
                    parse_units(price),
                    parse_units(quantity),
                    moment,
                    maker == "true",
                )
            )
    bars = [minutes[open_time].forming_bar() for open_time in sorted(minutes)]
    return [
        (
            bar.open_time,
            *(to_decimal(number) for number in (bar.open, bar.high, bar.low, bar.close)),
            *(to_decimal(bar.volume), to_decimal(bar.quote_volume), bar.trade_count),
            *(to_decimal(bar.taker_buy_volume), to_decimal(bar.taker_buy_quote_volume)),
            *(bar.first_trade_id, bar.last_trade_id),
        )
        for bar in bars
    ]


async def import_whole(path: Path, archive: Path) -> None:
    from candled.backfill.from_archive import import_archives

    await import_archives(path, [archive], exchange="benchmark")


def timed(work: Callable[[], object], count: int) -> list[float]:
    times = []
    for _ in range(count):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return times


def taken(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock and of the processor."""
    started, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - used


def processor_ms(work: Callable[[], object], count: int) -> float:
    started = time.process_time()
    for _ in range(count):
        work()
    return (time.process_time() - started) / count * 1e3


def spread(times: list[float]) -> str:
    """The median, and the best, which is what it takes when nobody else wants the processor."""
    return f"median {statistics.median(times) * 1e3:.1f} ms, best {min(times) * 1e3:.1f} ms"


def say(what: str, figure: str) -> None:
    line = f"{what:80} {figure}" if figure else what
    lines.append(line)
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trades", type=int, default=10_000_000, help="trades in the synthetic archive")
    parser.add_argument("--output", type=Path, help="file for the record")
    options = parser.parse_args()
    say(
        f"# {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC, {platform.machine()}, {os.cpu_count()} cores, load "
        f"{os.getloadavg()[0]:.1f}, Python {platform.python_version()}, DuckDB {duckdb.__version__}; "
        f"python -m benchmarks.history --trades {options.trades}",
        "",
    )
    with tempfile.TemporaryDirectory(prefix="candled-benchmark-") as folder:
        path = Path(folder)
        bare_limits(path / "bare")
        trio.run(commit_cost, path / "three", 3, 100)
        trio.run(commit_cost, path / "many", 2000, 30)
        trio.run(make_year, path / "year")
        queries(path / "year")
        importing(path / "import", options.trades)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
