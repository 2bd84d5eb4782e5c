"""Verify a data directory: find damaged, missing, duplicate and unproven bars, and differences to klines.

Works on files only, even while a daemon runs. Blocking.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from pathlib import Path
from typing import Any, Final

import attrs
import duckdb

from candled.domain.bar import Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.history import database, sql
from candled.history.checksums import FileChecks
from candled.history.columns import rows_from_events
from candled.history.damage import DAMAGED
from candled.history.directory import JOURNAL, hold_directory, is_data_directory, is_held, read_identity
from candled.history.durable_io import Files
from candled.history.errors import DataDirectoryError
from candled.history.journal import JournalDamagedError, journal_files, open_journal
from candled.history.lost import LostMinutes, read_lost, write_lost
from candled.history.query import connect
from candled.history.segments import paths
from candled.history.segments.names import Recent, Segment, live_recents, live_segments
from candled.history.unfillable import Unfillable, read_unfillable

Progress = Callable[[int, int, str], None]
"""Called with files done, files in total, and the name of the current file."""

Guard = Callable[[duckdb.DuckDBPyConnection], AbstractContextManager[object]]
"""Called with the connection of the checks, and entered while they run: what interrupts them."""

PRICES_AND_VOLUME: Final = ("open", "high", "low", "close", "volume")
"""What every exchange's kline states."""
NINE_FIELDS: Final = (
    *PRICES_AND_VOLUME,
    *("quote_volume", "trade_count", "taker_buy_volume", "taker_buy_quote_volume"),
)
"""What a kline states that carries all that a bar says of its trades."""

_REASONS_MAX: Final = 3
"""Maximum number of ranges named in one finding."""


class FindingKind(Enum):
    """Kind of a finding."""

    DAMAGED_FILE = "damaged file"
    DUPLICATE = "duplicate"
    HOLE = "hole"
    TRADE_IDS = "trade ids"
    INCOMPLETE = "incomplete"
    CONTRADICTION = "contradiction"
    """A bar whose own numbers contradict each other."""
    DIFFERENT = "different"
    """Differs from the exchange's kline."""
    NOT_STORED = "not stored"
    """The exchange has a kline, the history no bar."""


@attrs.frozen
class Finding:
    """One problem, with its symbol and time range: ``start <= open time < end`` in microseconds."""

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
    compared: Sequence[str] = NINE_FIELDS,
    progress: Progress = lambda _done, _all, _what: None,
    guard: Guard = nullcontext,
) -> list[Finding]:
    """Return every finding in a data directory, by symbol and time; empty if it is intact.

    Args:
        data_dir: The data directory.
        klines: The exchange's own 1-minute bars, to compare the stored ones with.
        compared: Names of the fields that its klines state.
        progress: Called for each file read.
        guard: Entered while the bars are checked.

    Raises:
        DataDirectoryError: it is not a readable data directory.
    """
    root = data_dir.absolute()
    connect.check_readable(root)
    damaged = [*find_damaged(root, progress), *_journal_at_rest(root)]
    bad = {finding.path for finding in damaged}
    whole = [file for file in _live_files(root) if paths.file_path(root, file) not in bad]
    sealed = [paths.file_path(root, file) for file in whole if isinstance(file, Segment)]
    recent = [paths.file_path(root, file) for file in whole if isinstance(file, Recent)]
    listed = {"sealed": sealed, "recent": recent}
    return damaged + check_files(root, listed, list(klines), compared, read_unfillable(root), guard)


def check_files(
    root: Path,
    listed: Mapping[str, Sequence[Path]],
    klines: Sequence[Bar],
    compared: Sequence[str],
    unfillable: Sequence[Unfillable] = (),
    guard: Guard = nullcontext,
) -> list[Finding]:
    """Return what is wrong with the bars in undamaged files.

    Args:
        root: The data directory, or a folder like one.
        listed: Its ``sealed`` and ``recent`` files.
        klines: The exchange's own 1-minute bars, to compare the stored ones with.
        compared: Names of the fields that its klines state.
        unfillable: Which trades the exchange does not have.
        guard: Entered while the bars are checked.
    """
    with database.open_memory_database() as connection, guard(connection):
        checks = _Checks(connection, root, listed["sealed"], listed["recent"], unfillable)
        return checks.run(klines, compared)


def find_damaged(root: Path, progress: Progress = lambda _done, _all, _what: None) -> list[Finding]:
    """Return the live files whose content does not match the checksum in their names."""
    found = []
    checks = FileChecks()
    files = _live_files(root)
    for number, file in enumerate(files):
        path = paths.file_path(root, file)
        progress(number, len(files), path.name)
        try:
            damaged = checks.find_damaged([(path, file.checksum)])
        except FileNotFoundError:
            continue  # superseded and removed since the listing
        if damaged:
            text = f"{path} is damaged ({DAMAGED}): `candled repair` sets it aside."
            finding = Finding(FindingKind.DAMAGED_FILE, text, path=path)
            if isinstance(file, Segment):
                finding = attrs.evolve(finding, symbol=file.symbol, start=file.start, end=file.end)
            found.append(finding)
    progress(len(files), len(files), "")
    return found


def set_damaged_aside(
    data_dir: Path, *, exchange: str = "", progress: Progress = lambda _done, _all, _what: None
) -> list[Finding]:
    """Set damaged files aside, so that the next start rebuilds them from the journal and fetches the rest.

    Raises:
        DataDirectoryError: the directory cannot be used, or a daemon holds it.
    """
    if not is_data_directory(data_dir):
        raise DataDirectoryError(
            f"Directory {data_dir} is not a candled data directory: give the one that holds the bars."
        )
    files = Files()
    with hold_directory(data_dir.absolute(), exchange=exchange, files=files) as directory:
        damaged = find_damaged(directory.path, progress)
        _record_lost(damaged, directory.path, files)
        for finding in damaged:
            assert finding.path is not None
            directory.set_aside(finding.path, files)
        journal = find_damaged_journal(directory.path)
        for path in journal_files(directory.journal) if journal else ():
            directory.set_aside(path, files)
    return damaged + journal


def find_damaged_journal(root: Path) -> list[Finding]:
    """Return the journal if it does not open or read completely; works on a copy, so changes nothing."""
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
    """Return ``find_damaged_journal`` while no process holds the directory: one that does has read it itself."""
    before = read_identity(root)
    if is_held(root):
        return []
    try:
        found = find_damaged_journal(root)
    except FileNotFoundError:  # a process has opened it meanwhile
        found = []
    return [] if is_held(root) or read_identity(root) != before else found


def _record_lost(damaged: Iterable[Finding], root: Path, files: Files) -> None:
    """Record the minutes of sealed files, so that the next start fetches them again."""
    lost = {
        LostMinutes(found.symbol, found.start, found.end)
        for found in damaged
        if found.start is not None and found.end is not None and found.start > 0
    }
    if lost:
        write_lost(root, sorted(lost.union(read_lost(root))), files)


def _live_files(root: Path) -> list[Segment | Recent]:
    return [*live_segments(paths.find_segments(root)), *live_recents(paths.find_recents(root))]


class _Checks:
    """The checks in SQL over all readable files."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        root: Path,
        sealed: Sequence[Path],
        recent: Sequence[Path],
        unfillable: Sequence[Unfillable],
    ) -> None:
        self._unfillable = unfillable
        self._connection = connection
        sealed_files = [paths.escape(str(path)) for path in sealed or [paths.empty_segment(root)]]
        recent_files = [paths.escape(str(path)) for path in recent or [paths.empty_recent(root)]]
        self._sealed = sql.sealed_rows(sql.file_list(sealed_files))
        minutes = sql.minutes(self._sealed, sql.recent_rows(sql.file_list(recent_files)))
        # Each row is joined with the bar before it: its end, and the highest trade id known then.
        self._connection.execute(f"CREATE TABLE minutes AS FROM ({minutes})")
        self._connection.execute(
            "CREATE VIEW steps AS SELECT *, lag(close_time) OVER by_time AS expected, "
            "lag(coalesce(last_trade_id, previous_trade_id)) OVER by_time AS known_id "
            "FROM minutes WINDOW by_time AS (PARTITION BY symbol ORDER BY open_time)"
        )

    def run(self, klines: Sequence[Bar], compared: Sequence[str]) -> list[Finding]:
        found = [*self._duplicates(), *self._holes(), *self._ids()]
        found += [*self._incomplete(), *self._contradictions()]
        if klines:
            found += self._compared(klines, compared)
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
            text = f"{_counted((end - start) // 60_000_000, 'minute has', 'minutes have')} no bar."
            yield Finding(FindingKind.HOLE, text, symbol, start, end)

    def _ids(self) -> Iterable[Finding]:
        sql = (
            "SELECT symbol, epoch_us(open_time), epoch_us(close_time), known_id, "
            "coalesce(first_trade_id, previous_trade_id + 1) AS next_id FROM steps WHERE next_id <> known_id + 1 "
            # A complete bar accounts for ids since the bar before: placeholders, or ids of a neighbour.
            "AND NOT (complete AND previous_trade_id = known_id)"
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
            bars = _counted(count, "bar is", "bars are")
            text = f"{bars} not proven complete.{self._why(symbol, before, last)}"
            yield Finding(FindingKind.INCOMPLETE, text, symbol, start, end, first, last)

    def _contradictions(self) -> Iterable[Finding]:
        sql = (
            "SELECT symbol, epoch_us(open_time), epoch_us(close_time) FROM minutes WHERE "
            "low > least(open, close) OR high < greatest(open, close) OR volume < taker_buy_volume "
            "OR quote_volume < taker_buy_quote_volume OR last_trade_id - first_trade_id + 1 < trade_count "
            "OR (trade_count = 0) <> (volume = 0) OR close_time <> open_time + INTERVAL 1 MINUTE"
        )
        for symbol, start, end in self._rows(sql):
            text = "The bar's own numbers contradict each other."
            yield Finding(FindingKind.CONTRADICTION, text, symbol, start, end)

    def _compared(self, klines: Sequence[Bar], compared: Sequence[str]) -> Iterable[Finding]:
        events = [BarEvent(BarEventKind.CLOSE, bar, bar.close_time) for bar in klines]
        self._connection.register("klines", rows_from_events(events))
        fields = ", ".join(f"CASE WHEN bar.{name} <> kline.{name} THEN '{name}' END" for name in compared)
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
        """Return the recorded reasons for missing ids that lie between these two, or are one of them."""
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


def _counted(count: int, one: str, more: str) -> str:
    return f"1 {one}" if count == 1 else f"{count} {more}"
