"""Looking a data directory over: what is damaged, missing, doubled, unproven, or not what the exchange says.

Works on files alone, beside a running daemon too. Blocking.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Final

import attrs
import pyarrow as pa
import pyarrow.parquet as pq

from candled.domain.bar import Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.history import query, reader
from candled.history.columns import ROW_SCHEMA, rows_from_events
from candled.history.directory import JOURNAL, hold_directory, is_data_directory, is_held, read_identity
from candled.history.errors import DataDirectoryError
from candled.history.files import Files
from candled.history.journal import JournalDamagedError, journal_files, open_journal
from candled.history.names import Recent, Segment, live_recents, live_segments
from candled.history.unfillable import Unfillable, read_unfillable

Progress = Callable[[int, int, str], None]
"""Called with files done, files in all, and what is at hand."""

_COMPARED: Final = (
    *("open", "high", "low", "close", "volume", "quote_volume", "trade_count"),
    *("taker_buy_volume", "taker_buy_quote_volume"),
)

_REASONS_MAX: Final = 3
"""Ranges named of one finding."""


class FindingKind(Enum):
    """What is wrong."""

    DAMAGED_FILE = "damaged file"
    DUPLICATE = "duplicate"
    HOLE = "hole"
    TRADE_IDS = "trade ids"
    INCOMPLETE = "incomplete"
    CONTRADICTION = "contradiction"
    """A bar whose own numbers cannot be."""
    DIFFERENT = "different"
    """Not what the exchange's kline says."""
    NOT_STORED = "not stored"
    """The exchange has a kline, the history no bar."""


@attrs.frozen
class Finding:
    """One thing that is wrong: of which symbol and when, ``start <= open time < end`` in microseconds."""

    kind: FindingKind
    text: str
    """A sentence."""
    symbol: str = ""
    start: int | None = None
    end: int | None = None
    first_id: int | None = None
    """Lowest trade id that is missing."""
    last_id: int | None = None
    path: Path | None = None


def verify(
    data_dir: Path,
    *,
    klines: Iterable[Bar] = (),
    progress: Progress = lambda _done, _all, _what: None,
) -> list[Finding]:
    """Everything that is wrong in a data directory, by symbol and time; nothing if it is whole.

    Args:
        data_dir: The data directory.
        klines: The exchange's own 1-minute bars, to compare the nine fields of a kline with.
        progress: Told of each file read.

    Raises:
        DataDirectoryError: it is no data directory that can be read.
    """
    root = data_dir.absolute()
    reader.check_readable(root)
    damaged = [*find_damaged(root, progress), *_journal_at_rest(root)]
    bad = {finding.path for finding in damaged}
    sealed = [path for path in map(Path, _paths(root, "sealed")) if path not in bad]
    recent = [path for path in map(Path, _paths(root, "recent")) if path not in bad]
    return damaged + _Checks(root, sealed, recent, read_unfillable(root)).run(list(klines))


def find_damaged(root: Path, progress: Progress = lambda _done, _all, _what: None) -> list[Finding]:
    """The files that count and cannot be read whole, by every page's checksum."""
    paths = [Path(path) for kind in ("sealed", "recent") for path in _paths(root, kind)]
    found = []
    for number, path in enumerate(paths):
        progress(number, len(paths), path.name)
        try:
            pq.ParquetFile(path, page_checksum_verification=True).read()
        except FileNotFoundError:
            continue  # superseded and removed since it was listed
        except (pa.ArrowException, OSError) as error:
            text = f"{path} is damaged ({str(error).splitlines()[0]}): `candled repair` sets it aside."
            found.append(Finding(FindingKind.DAMAGED_FILE, text, path=path))
    progress(len(paths), len(paths), "")
    return found


def set_damaged_aside(
    data_dir: Path, *, exchange: str = "", progress: Progress = lambda _done, _all, _what: None
) -> list[Finding]:
    """Set damaged files aside, so that the next start makes them again from what there is and fetches the rest.

    Raises:
        DataDirectoryError: the directory cannot be used, or a daemon holds it.
    """
    if not is_data_directory(data_dir):
        raise DataDirectoryError(f"{data_dir} is not a candled data directory: give the one that holds the bars")
    files = Files()
    with hold_directory(data_dir.absolute(), exchange=exchange, files=files) as directory:
        damaged = find_damaged(directory.path, progress)
        for finding in damaged:
            assert finding.path is not None
            directory.set_aside(finding.path, files)
        journal = find_damaged_journal(directory.path)
        for path in journal_files(directory.journal) if journal else ():
            directory.set_aside(path, files)
    return damaged + journal


def find_damaged_journal(root: Path) -> list[Finding]:
    """The journal, if it does not open or cannot be read whole. Looks at a copy, and so changes nothing."""
    path = root / JOURNAL
    with tempfile.TemporaryDirectory(prefix="candled-verify-") as folder:
        for file in journal_files(path):
            shutil.copyfile(file, Path(folder) / file.name)
        try:
            open_journal(Path(folder) / JOURNAL, Files()).close()
        except JournalDamagedError as error:
            text = f"{path} is damaged ({error}): the next start or `candled repair` sets it aside."
            return [Finding(FindingKind.DAMAGED_FILE, text, path=path)]
    return []


def _journal_at_rest(root: Path) -> list[Finding]:
    """As ``find_damaged_journal``, while no process holds the directory: one that does has read it itself."""
    before = read_identity(root)
    if is_held(root):
        return []
    try:
        found = find_damaged_journal(root)
    except FileNotFoundError:  # a process has opened it meanwhile
        found = []
    return [] if is_held(root) or read_identity(root) != before else found


def _paths(root: Path, kind: str) -> list[str]:
    live: Sequence[Segment | Recent]
    if kind == "recent":
        live = live_recents(reader.find_recents(root))
        return [str(reader.recent_path(root, recent)) for recent in live]
    return [str(reader.segment_path(root, segment)) for segment in live_segments(reader.find_segments(root))]


class _Checks:
    """The checks that SQL makes over the files that can be read."""

    def __init__(
        self, root: Path, sealed: Sequence[Path], recent: Sequence[Path], unfillable: Sequence[Unfillable]
    ) -> None:
        self._unfillable = unfillable
        self._connection = reader.open_memory_database()
        sealed_files = [reader.escape(str(path)) for path in sealed or [reader.empty_segment(root)]]
        recent_files = [reader.escape(str(path)) for path in recent or [reader.empty_recent(root)]]
        self._sealed = query.sealed_rows(query.file_list(sealed_files))
        minutes = query.minutes(self._sealed, query.recent_rows(query.file_list(recent_files)))
        # A row knows the bar before it: where that ends, and the highest trade id that was known then.
        self._connection.execute(f"CREATE TABLE minutes AS FROM ({minutes})")
        self._connection.execute(
            "CREATE VIEW steps AS SELECT *, lag(close_time) OVER by_time AS expected, "
            "lag(coalesce(last_trade_id, previous_trade_id)) OVER by_time AS known_id "
            "FROM minutes WINDOW by_time AS (PARTITION BY symbol ORDER BY open_time)"
        )

    def run(self, klines: Sequence[Bar]) -> list[Finding]:
        try:
            found = [*self._duplicates(), *self._holes(), *self._ids()]
            found += [*self._incomplete(), *self._contradictions()]
            if klines:
                found += self._compared(klines)
        finally:
            self._connection.close()
        return sorted(found, key=lambda finding: (finding.symbol, finding.start or 0))

    def _duplicates(self) -> Iterable[Finding]:
        sql = (
            f"SELECT symbol, epoch_us(open_time), epoch_us(max(close_time)), count(*) FROM ({self._sealed}) "
            "GROUP BY symbol, open_time HAVING count(*) > 1"
        )
        for symbol, start, end, count in self._rows(sql):
            yield Finding(FindingKind.DUPLICATE, f"The bar stands in {count} sealed files.", symbol, start, end)

    def _holes(self) -> Iterable[Finding]:
        sql = "SELECT symbol, epoch_us(expected), epoch_us(open_time) FROM steps WHERE open_time > expected"
        for symbol, start, end in self._rows(sql):
            text = f"{(end - start) // 60_000_000} minutes have no bar."
            yield Finding(FindingKind.HOLE, text, symbol, start, end)

    def _ids(self) -> Iterable[Finding]:
        sql = (
            "SELECT symbol, epoch_us(open_time), epoch_us(close_time), known_id, "
            "coalesce(first_trade_id, previous_trade_id + 1) AS next_id FROM steps WHERE next_id <> known_id + 1"
        )
        for symbol, start, end, known, first in self._rows(sql):
            if first > known:
                text = f"Trades {known + 1} to {first - 1} before it are missing.{self._why(symbol, known, first)}"
                yield Finding(FindingKind.TRADE_IDS, text, symbol, start, end, known + 1, first - 1)
            else:
                text = f"It begins with trade {first}, but the bars before it go up to {known}."
                yield Finding(FindingKind.TRADE_IDS, text, symbol, start, end)

    def _incomplete(self) -> Iterable[Finding]:
        sql = (
            "SELECT symbol, epoch_us(min(open_time)), epoch_us(max(close_time)), count(*), "
            "min(first_trade_id), max(last_trade_id), min(previous_trade_id) FROM ("
            "SELECT *, epoch_us(open_time) // 60000000 "
            "- row_number() OVER (PARTITION BY symbol ORDER BY open_time) AS run "
            "FROM minutes WHERE NOT complete) GROUP BY symbol, run"
        )
        for symbol, start, end, count, first, last, before in self._rows(sql):
            text = f"{count} bars are not proven complete.{self._why(symbol, before, last)}"
            yield Finding(FindingKind.INCOMPLETE, text, symbol, start, end, first, last)

    def _contradictions(self) -> Iterable[Finding]:
        sql = (
            "SELECT symbol, epoch_us(open_time), epoch_us(close_time) FROM minutes WHERE "
            "low > least(open, close) OR high < greatest(open, close) OR volume < taker_buy_volume "
            "OR quote_volume < taker_buy_quote_volume OR last_trade_id - first_trade_id + 1 < trade_count "
            "OR (trade_count = 0) <> (volume = 0) OR close_time <> open_time + INTERVAL 1 MINUTE "
            "OR complete AND last_trade_id - first_trade_id + 1 <> trade_count"
        )
        for symbol, start, end in self._rows(sql):
            text = "The bar's own numbers contradict each other."
            yield Finding(FindingKind.CONTRADICTION, text, symbol, start, end)

    def _compared(self, klines: Sequence[Bar]) -> Iterable[Finding]:
        events = [BarEvent(BarEventKind.CLOSE, bar, bar.close_time) for bar in klines]
        self._connection.register("klines", rows_from_events(events).cast(ROW_SCHEMA))
        fields = ", ".join(f"CASE WHEN bar.{name} <> kline.{name} THEN '{name}' END" for name in _COMPARED)
        sql = (
            "SELECT kline.symbol, epoch_us(kline.open_time), epoch_us(kline.close_time), bar.symbol IS NULL, "
            f"concat_ws(', ', {fields}) AS differing FROM klines kline "
            "LEFT JOIN minutes bar USING (symbol, open_time) WHERE bar.symbol IS NULL OR differing <> ''"
        )
        for symbol, start, end, missing, fields_differing in self._rows(sql):
            if missing:
                yield Finding(FindingKind.NOT_STORED, "The exchange has a kline of it.", symbol, start, end)
            else:
                text = f"The exchange's kline has another {fields_differing}."
                yield Finding(FindingKind.DIFFERENT, text, symbol, start, end)

    def _why(self, symbol: str, before: int | None, after: int | None) -> str:
        """What the repair has found out of ids that lie between these two, or are one of them."""
        if before is None or after is None:
            return ""
        reasons = [
            f" The exchange does not have trades {each.first_id} to {each.last_id}: {each.reason}."
            for each in self._unfillable
            if each.symbol == symbol and each.first_id <= after and each.last_id >= before
        ]
        more = len(reasons) - _REASONS_MAX
        return "".join(reasons[:_REASONS_MAX]) + (f" {more} more ranges are not to be had." if more > 0 else "")

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql).fetchall()
