"""Fill the history from archive files: find new and better bars, and prove them by their ids."""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import attrs
import pyarrow as pa
import trio
from msgspec.structs import replace

from candled.backfill.archive_checks import Refusal, check_bars
from candled.backfill.archive_sql import ArchiveKind
from candled.backfill.binance_archive import (
    Archive,
    ArchiveMinutes,
    check_archive,
    parse_archive,
    read_minutes,
)
from candled.domain.bar import NO_TRADE, Bar
from candled.domain.id_ranges import IdRanges
from candled.domain.interval import MINUTE, ONE_MINUTE
from candled.domain.proof import is_proven, prove_run, prove_traded
from candled.history.column_names import NUMBER_COLUMNS
from candled.history.columns import column_values
from candled.history.durable import DurableHistory
from candled.history.durable_io import TEMPORARY
from candled.history.opening import open_history
from candled.history.retries import writing_once
from candled.history.settings import HistorySettings

Progress = Callable[[int, int, str], None]
"""Called with bytes done, bytes in total, and the name of the current file."""


@attrs.define
class ImportReport:
    """Result of an import."""

    bars_added: int = 0
    bars_revised: int = 0
    bars_known: int = 0
    """Already stored with the same value in every field."""
    bars_different: int = 0
    """Stored bars that are proven and differ from the archive: they are not changed."""
    rows_refused: int = 0
    """Rows left out because of impossible values: bars that lack them are not complete."""
    files_without_checksum: list[Path] = attrs.field(factory=list)
    disputed: dict[Path, tuple[int, ...]] = attrs.field(factory=dict)
    """Open times of minutes, by file, with rows that contradict each other or themselves; those are left out."""
    refused: list[Refusal] = attrs.field(factory=list)
    """Bars left out because their values contradict each other."""


@attrs.define
class Carried:
    """State from the files of one symbol, carried to the next ones."""

    symbol: str = ""
    seen: IdRanges = attrs.field(factory=IdRanges)
    newest: Bar | None = None
    """The newest bar of trades, if its sums are exact."""


async def import_archives(
    data_dir: Path,
    paths: Sequence[Path],
    *,
    exchange: str,
    settings: HistorySettings | None = None,
    progress: Progress = lambda _done, _all, _what: None,
) -> ImportReport:
    """Import archive files into a data directory that no daemon holds.

    Files are imported by symbol and date. Each is durable before the next begins, and importing it again changes
    nothing, so the same call resumes an interrupted import.

    Args:
        data_dir: The data directory, created if it does not exist.
        paths: Archive zip files, each with its ``.CHECKSUM`` beside it where there is one.
        exchange: Identity of the exchange; empty: the one recorded in the directory.
        settings: How bars are kept.
        progress: Called for each file.

    Raises:
        UserError: a file is invalid; nothing of it is imported.
        DataDirectoryError: the directory cannot be used, or a write failed; some bars may be imported.
    """
    archives = sorted((parse_archive(path) for path in paths), key=lambda a: (a.symbol, a.date, a.kind.value))
    report = ImportReport()
    total = done = 0
    for archive in archives:
        if not await trio.to_thread.run_sync(check_archive, archive):
            report.files_without_checksum.append(archive.path)
        total += archive.path.stat().st_size
    carried = Carried()
    async with open_history(data_dir, exchange=exchange, settings=settings) as history:
        for archive in archives:
            if archive.symbol != carried.symbol:
                carried = Carried(archive.symbol)
            progress(done, total, archive.path.name)
            unpacked = partial(_show_unpacked, progress, done, total, archive)
            with writing_once(data_dir):
                minutes = await trio.to_thread.run_sync(_read, archive, data_dir, unpacked)
                report.rows_refused += minutes.refused
                await _take(history, archive, minutes, carried, report)
            done += archive.path.stat().st_size
        progress(done, total, "sealing")
        with writing_once(data_dir):
            while await history.keep():
                pass
        progress(done, total, "done")
    return report


def _show_unpacked(progress: Progress, done: int, total: int, archive: Archive, part: int) -> None:
    is_whole = part == archive.path.stat().st_size
    progress(done + part, total, f"{archive.path.name}: adding up" if is_whole else archive.path.name)


def _read(archive: Archive, data_dir: Path, unpacked: Callable[[int], None]) -> ArchiveMinutes:
    # On the bars' volume, which has room for it; the next start removes what a kill leaves behind.
    with tempfile.TemporaryDirectory(prefix="import-", suffix=TEMPORARY, dir=data_dir) as staging:
        return read_minutes(archive, Path(staging), unpacked)


async def _take(
    history: DurableHistory, archive: Archive, minutes: ArchiveMinutes, carried: Carried, report: ImportReport
) -> None:
    if minutes.disputed:
        report.disputed[archive.path] = minutes.disputed
    if not minutes.table.num_rows:
        return
    found, refused = check_bars(archive.path, bars_of(archive.symbol, minutes.table))
    report.refused += refused
    if not found:
        return
    start, end = found[0][0].open_time, found[-1][0].close_time
    # One more day on each side, for the ids known before and after.
    around = await history.bars(archive.symbol, ONE_MINUTE.name, start - 1440 * MINUTE, end + 1440 * MINUTE, 10**9)
    stored = {bar.open_time: bar for bar in around}
    if archive.kind is ArchiveKind.KLINES:
        proven = prove_archived_klines([bar for bar, _ in found], around)
    else:
        proven = prove_archived_trades(found, minutes.seen, around, carried)
    bars = []
    for bar in proven:
        known = stored.get(bar.open_time)
        if known is None:
            report.bars_added += 1
            bars.append(bar)
        elif known.complete and not _same_numbers(known, bar):
            report.bars_different += 1
        elif not known.complete and (bar.complete or _knows_more(bar, known)):
            report.bars_revised += 1
            bars.append(replace(bar, revision=known.revision + 1))
        else:
            report.bars_known += 1
    await history.add(bars)


def prove_archived_trades(
    found: Sequence[tuple[Bar, bool]], shown: IdRanges, stored: Sequence[Bar], carried: Carried
) -> list[Bar]:
    """Decide which bars of trades are complete, by their ids and by those known around them.

    Args:
        found: Bars, oldest first, and whether their sums are exact.
        shown: Ids that the file shows.
        stored: Stored bars of the same time and of the days around it.
        carried: State from earlier files of this import; this file is added to it.

    Returns:
        The bars, and the stored one before them if they complete its proof. A bar whose sums are not
        exact has no ``previous_trade_id``, so that no later file mistakes it for one that only lacks later ids.
    """
    first, last = found[0][0], found[-1][0]
    before = [bar for bar in stored if bar.open_time < first.open_time and bar.known_trade_id != NO_TRADE]
    after = [bar for bar in stored if bar.open_time > last.open_time and not bar.is_empty]
    id_before = before[-1].known_trade_id if before else NO_TRADE
    id_after = after[0].first_trade_id if after and after[0].first_trade_id != NO_TRADE else None
    seen = carried.seen
    for ids in shown:
        seen.add(*ids)
    for known in (id_before, id_after):
        if known is not None and known != NO_TRADE:
            seen.add(known, known)
    bars = []
    if before and not before[-1].complete:
        late = _proven_late(before[-1], seen, first.first_trade_id, carried.newest)
        bars += [] if late is None else [late]
    for bar, (_, exact) in zip(
        prove_traded([bar for bar, _ in found], seen, id_before, id_after), found, strict=True
    ):
        bars.append(bar if exact else replace(bar, complete=False, previous_trade_id=NO_TRADE))
    carried.newest = last if found[-1][1] else None
    return bars


def _proven_late(bar: Bar, seen: IdRanges, id_after: int, newest: Bar | None) -> Bar | None:
    """Return the stored bar if a later trade completes its proof, else None.

    Its trades are known to be those of its ids if it counts as many as it spans, or if it is ``newest``, the bar
    that the file before ended with.
    """
    if bar.is_empty or bar.first_trade_id == NO_TRADE or bar.previous_trade_id == NO_TRADE:
        return None
    own = IdRanges()
    for ids in seen:
        own.add(*ids)
    if bar.trade_count == bar.last_trade_id - bar.first_trade_id + 1:
        own.add(bar.first_trade_id, bar.last_trade_id)
    elif newest is None or bar.open_time != newest.open_time or not _same_numbers(bar, newest):
        return None
    own.add(bar.previous_trade_id, bar.previous_trade_id)
    proven = is_proven(own, bar.previous_trade_id, id_after, bar.first_trade_id, bar.last_trade_id)
    return replace(bar, complete=True) if proven else None


def prove_archived_klines(klines: Sequence[Bar], stored: Sequence[Bar]) -> list[Bar]:
    """Decide which klines are complete: each run of consecutive minutes is counted from the stored bar before it.

    Counting begins at ids that are proven: those of an incomplete bar may have been counted themselves.
    """
    by_close_time = {bar.close_time: bar for bar in stored if bar.known_trade_id != NO_TRADE}
    by_open_time = {bar.open_time: bar for bar in stored if bar.first_trade_id != NO_TRADE}
    bars: list[Bar] = []
    for run in _runs(klines):
        anchor = by_close_time.get(run[0].open_time)
        following = by_open_time.get(run[-1].close_time)
        meets = anchor is not None and anchor.complete and following is not None
        bars += prove_run(
            run,
            NO_TRADE if anchor is None else anchor.known_trade_id,
            following.first_trade_id if following is not None and meets else None,
        )
    return bars


def _runs(bars: Sequence[Bar]) -> Iterable[list[Bar]]:
    run = [bars[0]]
    for before, bar in pairwise(bars):
        if before.close_time != bar.open_time:
            yield run
            run = []
        run.append(bar)
    yield run


def bars_of(symbol: str, minutes: pa.Table) -> list[tuple[Bar, bool]]:
    """Convert an archive's minutes to bars, each with a flag whether its sums are exact."""
    columns = [column_values(minutes.column(name)) for name in minutes.schema.names]
    found = []
    for open_time, *numbers, first_id, last_id, exact in zip(*columns, strict=True):
        bar = Bar(
            symbol=symbol,
            interval=ONE_MINUTE.name,
            open_time=open_time,
            close_time=open_time + MINUTE,
            **dict(zip(NUMBER_COLUMNS, numbers, strict=True)),
            first_trade_id=NO_TRADE if first_id is None else first_id,
            last_trade_id=NO_TRADE if last_id is None else last_id,
            previous_trade_id=NO_TRADE,
            closed=True,
        )
        found.append((bar, exact))
    return found


def _same_numbers(one: Bar, other: Bar) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in NUMBER_COLUMNS)


def _knows_more(bar: Bar, known: Bar) -> bool:
    """Return whether an unproven bar replaces the stored one: never one that counts more trades."""
    return bar.trade_count >= known.trade_count and not _same_numbers(bar, known)
