"""The figures of a history in an object store, on an S3 server of its own.

usage: python -m benchmarks.object_storage [--symbols N] [--rounds N] [--output FILE]

* A year of three symbols read by ``candled sql`` from the store, with a warm cache, against the same files in a
  data directory: whole processes and queries alone, in turns.
* What an edge does from an empty cache until it can serve: read the log's bars into memory, list the store, and
  read the parts of open weeks and months; then its first answers. For that year, and for a day of many symbols.
  The connection to the bus, and the process's own start, are not in it: the latter stands beside it.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final
from unittest import mock

import attrs
import trio

from benchmarks.header import header
from benchmarks.history import SYMBOLS, make_year, minute
from candled.bus.messages import decode_events, encode_events
from candled.domain.bar import Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.interval import DAY, MINUTE
from candled.domain.limits import TIME_MAX
from candled.engine.rollup import RollUp
from candled.history import connect
from candled.history.checksums import checksum
from candled.history.columns import rows_from_events
from candled.history.directory import read_identity
from candled.history.layered import LayeredBars
from candled.history.objects.bucket import Bucket
from candled.history.objects.cache import HistoryCache
from candled.history.objects.keys import key_of
from candled.history.objects.restoring import bind_bucket
from candled.history.objects.stored_bars import StoredBars
from candled.history.replica import Replica
from candled.history.segments import paths
from candled.history.segments.names import Recent, Segment
from candled.history.segments.parquet import encode_recent
from tests.acceptance.s3_server import KEYS, bucket_at, s3_server

EXCHANGE: Final = "benchmark"
YEAR_START: Final = 1_735_689_600_000_000
DAY_START: Final = YEAR_START + 365 * DAY
LOG_BARS: Final = 200_000
"""``bus_bars_max``: what an edge holds of the log."""
SEEDED_SYMBOLS_MAX: Final = 100
FILE_ROWS: Final = 300_000
"""About as many as a merged recent file has."""
QUERIES: Final = {
    "one symbol's day": "SELECT * FROM bars_between('1m', TIMESTAMPTZ '2025-06-10', TIMESTAMPTZ '2025-06-11') "
    "WHERE symbol = 'ETHUSDT'",
    "full scan": "SELECT symbol, count(*), max(high), min(low), sum(volume), sum(quote_volume) FROM bars "
    "WHERE interval = '1m' GROUP BY symbol",
}
lines: list[str] = []
"""The record so far."""


@attrs.frozen
class Cost:
    """What something took."""

    wall: float
    processor: float

    def __str__(self) -> str:
        return f"{self.wall:6.2f} s, processor {self.processor:6.2f} s"


def say(what: str, figure: object) -> None:
    lines.append(f"{what:72} {figure}")
    print(lines[-1], flush=True)


def taken(work: Callable[[], object]) -> Cost:
    started, used = time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - started, time.process_time() - used)


def of_process(command: Sequence[str]) -> Cost:
    """What a process took; its processor time is that of all its threads."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return Cost(time.perf_counter() - started, usage.ru_utime + usage.ru_stime)


def best(costs: Sequence[Cost]) -> Cost:
    return Cost(min(cost.wall for cost in costs), min(cost.processor for cost in costs))


def median_ratio(remote: Sequence[Cost], local: Sequence[Cost]) -> str:
    """The ratio of neighbours in turn, by the clock and by processor time."""
    pairs = list(zip(remote, local, strict=True))
    wall = statistics.median(a.wall / b.wall for a, b in pairs)
    processor = statistics.median(a.processor / b.processor for a, b in pairs)
    return f"{wall:.2f} by the clock, {processor:.2f} of processor; median of {len(pairs)} in turn"


def copy_year(data_dir: Path, bucket: Bucket) -> None:
    """Put the files of a data directory."""
    identity = read_identity(data_dir)
    assert identity is not None
    bind_bucket(bucket, EXCHANGE, str(identity["id"]))
    files: list[Segment | Recent] = [*paths.find_segments(data_dir), *paths.find_recents(data_dir)]
    for file in files:
        bucket.put(key_of(file), paths.file_path(data_dir, file).read_bytes())


def put_day(bucket: Bucket, symbols: Sequence[str]) -> None:
    """Put a day of many symbols as a daemon has it before the day is sealed."""
    bind_bucket(bucket, EXCHANGE, "0123456789abcdef")
    minutes_at_once = max(1, FILE_ROWS // len(symbols))
    for number, first in enumerate(range(0, 1440, minutes_at_once), start=1):
        opens = range(DAY_START + first * MINUTE, DAY_START + min(1440, first + minutes_at_once) * MINUTE, MINUTE)
        bars = [minute(symbol, open_time) for symbol in symbols for open_time in opens]
        events = [BarEvent(BarEventKind.CLOSE, bar, bar.close_time, 1) for bar in bars]
        content = bytes(encode_recent(rows_from_events(events)))
        bucket.put(key_of(Recent(number, number, checksum=checksum(content))), content)


def warm_reads(url: str, endpoint: str, data_dir: Path, cache_dir: Path, rounds: int) -> None:
    """Compare reads of the store with a warm cache with those of the data directory."""
    command = (sys.executable, "-m", "candled", "sql", "--format=csv")
    where = (f"--history={url}", f"--history-endpoint={endpoint}", f"--cache-dir={cache_dir}")
    for name, query in QUERIES.items():
        remote, local = [], []
        of_process([*command, query, *where])
        for _ in range(rounds):
            remote.append(of_process([*command, query, *where]))
            local.append(of_process([*command, query, f"--data-dir={data_dir}"]))
        say(f"candled sql, {name}, data directory, best", best(local))
        say(f"candled sql, {name}, store with a warm cache, best", best(remote))
        say(f"candled sql, {name}, ratio (must be below 1.2)", median_ratio(remote, local))
    with connect(url, endpoint=endpoint, cache_dir=cache_dir) as theirs, connect(data_dir) as ours:
        for name, query in QUERIES.items():
            remote, local = [], []
            for _ in range(2 * rounds):
                remote.append(taken(lambda query=query: theirs.sql(query).to_arrow_table()))  # type: ignore[misc]
                local.append(taken(lambda query=query: ours.sql(query).to_arrow_table()))  # type: ignore[misc]
            say(f"an open connection, {name}, ratio", median_ratio(remote, local))


async def edge_start(
    what: str, bucket: Bucket, cache_dir: Path, symbols: Sequence[str], end: int, within: float
) -> None:
    """What an edge does before it serves, and its first answers."""
    minutes = min(1440, LOG_BARS // len(symbols))
    bars = [minute(symbol, end + number * MINUTE) for number in range(minutes) for symbol in symbols]
    log = [encode_events([BarEvent(BarEventKind.CLOSE, bar, bar.close_time, 1)]) for bar in bars]
    started, used = time.perf_counter(), time.process_time()
    replica = Replica("0123456789abcdef", LOG_BARS)
    replica.start_at(1)
    for position, payload in enumerate(log, start=2):
        replica.take(decode_events(payload, position))
    after_log = time.perf_counter()
    older = StoredBars(bucket, EXCHANGE, lambda store: HistoryCache(store, cache_dir))
    await older.open(60.0)
    both = LayeredBars(replica, older)
    after_listing = time.perf_counter()
    seeded = list(symbols) if len(symbols) <= SEEDED_SYMBOLS_MAX else []
    for symbol in seeded:
        last = end + minutes * MINUTE
        for interval, start in RollUp.seed_ranges(last).items():
            await both.bars(symbol, interval, start, last, (last - start) // MINUTE + 1)
    serving = Cost(time.perf_counter() - started, time.process_time() - used)
    say(f"{what}: to serving (must be below {within:g})", serving)
    parts = (after_log - started, after_listing - after_log, started + serving.wall - after_listing)
    say(
        f"{what}: log of {len(log)} bars / listing / open months",
        " / ".join(f"{part:.2f}" for part in parts) + " s",
    )
    await _answers(what, both, symbols[0], end)


async def _answers(what: str, both: LayeredBars, symbol: str, end: int) -> None:
    async def page(start: int, limit: int) -> list[Bar]:
        return await both.bars(symbol, "1m", start, TIME_MAX, limit)

    for name, start in (("first question to the store, 500 minutes", end - 500 * MINUTE), ("the same again", 0)):
        started, used = time.perf_counter(), time.process_time()
        assert await page(start or end - 500 * MINUTE, 500)
        say(f"{what}: {name}", Cost(time.perf_counter() - started, time.process_time() - used))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=2000, help="of the day of many symbols; 0: leave it out")
    parser.add_argument("--rounds", type=int, default=5, help="of each comparison")
    parser.add_argument("--output", type=Path, help="also write the record there")
    arguments = parser.parse_args()
    print("\n".join(header("object_storage")), flush=True)
    lines.extend(header("object_storage"))
    with tempfile.TemporaryDirectory() as name, mock.patch.dict(os.environ, KEYS):
        folder = Path(name)
        (folder / "s3").mkdir()
        with s3_server(folder / "s3") as server:
            _run(folder, server, arguments.symbols, arguments.rounds)
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n")


def _run(folder: Path, server: str, symbols: int, rounds: int) -> None:
    trio.run(make_year, folder / "year")
    year = bucket_at(server, "year")
    copy_year(folder / "year", year)
    say("start of Python with an edge's modules", best([of_process(_IMPORTS) for _ in range(rounds)]))
    trio.run(edge_start, "year of 3 symbols", year, folder / "edge", SYMBOLS, DAY_START + DAY, 5)
    warm_reads("s3://candled-test/year", f"http://{server}", folder / "year", folder / "cache", rounds)
    if symbols:
        names = [f"SYM{number}USDT" for number in range(symbols)]
        day = bucket_at(server, "day")
        put_day(day, names)
        what = f"day of {symbols} symbols"
        trio.run(edge_start, what, day, folder / "edge", names, DAY_START + DAY, 20)


_IMPORTS: Final = (
    *(sys.executable, "-c"),
    "import candled.daemon.edge, candled.history.objects.stored_bars",
)


if __name__ == "__main__":
    main()
