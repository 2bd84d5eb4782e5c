"""Filling the history from archive files: which bars are new, which are better, and what ids prove of them."""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import attrs
import pyarrow as pa
import trio

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.interval import MINUTE, ONE_MINUTE
from candled.history.archive import Archive, ArchiveKind, check_archive, parse_archive, read_minutes
from candled.history.columns import column_values
from candled.history.files import TEMPORARY
from candled.history.history import DurableHistory, open_history
from candled.history.retries import writing_once
from candled.history.settings import HistorySettings

Progress = Callable[[int, int, str], None]
"""Called with bytes done, bytes in all, and what is at hand."""

_NUMBERS = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "trade_count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
)


@attrs.define
class ImportReport:
    """What an import did."""

    bars_added: int = 0
    bars_revised: int = 0
    bars_known: int = 0
    """Already stored, the same in every field."""
    bars_different: int = 0
    """Stored bars whose ids prove them, and that differ from the archive: they stay as they are."""
    files_without_checksum: list[Path] = attrs.field(factory=list)


async def import_archives(
    data_dir: Path,
    paths: Sequence[Path],
    *,
    exchange: str,
    settings: HistorySettings | None = None,
    progress: Progress = lambda _done, _all, _what: None,
) -> ImportReport:
    """Import archive files into a data directory that no daemon holds.

    Files go in by symbol and date; each is durable before the next begins, and importing it again changes nothing,
    so an import that was stopped is resumed by the same call.

    Args:
        data_dir: The data directory, made if it is not there.
        paths: Archive zip files, each with its ``.CHECKSUM`` beside it where there is one.
        exchange: Identity of the exchange; empty: the one that the directory has.
        settings: How bars are kept.
        progress: Told of each file.

    Raises:
        UserError: a file is not what it should be; nothing of it is imported.
        DataDirectoryError: the directory cannot be used, or the disk does not take it; a part may be in.
    """
    archives = sorted((parse_archive(path) for path in paths), key=lambda a: (a.symbol, a.date, a.kind.value))
    report = ImportReport()
    total = done = 0
    for archive in archives:
        if not await trio.to_thread.run_sync(check_archive, archive):
            report.files_without_checksum.append(archive.path)
        total += archive.path.stat().st_size
    async with open_history(data_dir, exchange=exchange, settings=settings) as history:
        for archive in archives:
            progress(done, total, archive.path.name)
            unpacked = partial(_show_unpacked, progress, done, total, archive)
            with writing_once(data_dir):
                minutes = await trio.to_thread.run_sync(_read, archive, data_dir, unpacked)
                await _take(history, archive, minutes, report)
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


def _read(archive: Archive, data_dir: Path, unpacked: Callable[[int], None]) -> pa.Table:
    # Beside the bars: there is room for them there, and the next start removes what a kill leaves.
    with tempfile.TemporaryDirectory(prefix="import-", suffix=TEMPORARY, dir=data_dir) as staging:
        return read_minutes(archive, Path(staging), unpacked)


async def _take(history: DurableHistory, archive: Archive, minutes: pa.Table, report: ImportReport) -> None:
    if not minutes.num_rows:
        return
    found = _bars(archive.symbol, minutes)
    start, end = found[0][0].open_time, found[-1][0].close_time
    # One day around it tells what is known on both sides.
    around = await history.bars(archive.symbol, ONE_MINUTE.name, start - 1440 * MINUTE, end + 1440 * MINUTE, 10**9)
    stored = {bar.open_time: bar for bar in around}
    prove = prove_klines if archive.kind is ArchiveKind.KLINES else prove_trades
    bars = []
    for bar in prove(found, around):
        known = stored.get(bar.open_time)
        if known is None:
            report.bars_added += 1
            bars.append(bar)
        elif known.complete and not _same_numbers(known, bar):
            report.bars_different += 1
        elif not known.complete and (bar.complete or _knows_more(bar, known)):
            report.bars_revised += 1
            bars.append(_with(bar, revision=known.revision + 1))
        else:
            report.bars_known += 1
    await history.add(bars)


def prove_trades(found: Sequence[tuple[Bar, bool]], stored: Sequence[Bar]) -> list[Bar]:
    """Bars from trades, each complete if its ids meet those before and after it without a hole.

    Args:
        found: Bars, oldest first, and whether every id from first to last was there.
        stored: What the history has of the same time and around it.

    Returns:
        The bars, and the stored one before them if they bring the proof that it lacked.
    """
    first, last = found[0][0], found[-1][0]
    before = [bar for bar in stored if bar.open_time < first.open_time and bar.known_trade_id != NO_TRADE]
    after = [bar for bar in stored if bar.open_time > last.open_time and not bar.is_empty]
    previous = before[-1].known_trade_id if before else NO_TRADE
    following = [bar.first_trade_id for bar, _ in found[1:]] + [after[0].first_trade_id if after else NO_TRADE]
    bars = []
    if before and previous + 1 == first.first_trade_id and not before[-1].complete and _is_whole(before[-1]):
        bars.append(_with(before[-1], complete=True))
    for (bar, exact), next_id in zip(found, following, strict=True):
        complete = exact and bar.first_trade_id == previous + 1 and bar.last_trade_id + 1 == next_id
        bars.append(_with(bar, complete=complete and previous != NO_TRADE, previous_trade_id=previous))
        previous = bar.last_trade_id
    return bars


def prove_klines(found: Sequence[tuple[Bar, bool]], stored: Sequence[Bar]) -> list[Bar]:
    """Bars from klines, which have no ids: counted on from the stored bar before each run of consecutive minutes.

    A run is complete if the counted ids meet the known ids at both of its ends; without a known id before it, it
    has none.
    """
    known = {bar.close_time: bar for bar in stored if bar.known_trade_id != NO_TRADE}
    by_open_time = {bar.open_time: bar for bar in stored}
    bars: list[Bar] = []
    for run in _runs([bar for bar, _ in found]):
        anchor = known.get(run[0].open_time)
        if anchor is None:
            bars += run
            continue
        previous = anchor.known_trade_id
        counted = []
        for bar in run:
            last_id = previous + bar.trade_count
            ids = {} if bar.is_empty else {"first_trade_id": previous + 1, "last_trade_id": last_id}
            counted.append(_with(bar, previous_trade_id=previous, **ids))
            previous = last_id
        following = by_open_time.get(run[-1].close_time)
        meets = following is not None and not following.is_empty and following.first_trade_id == previous + 1
        bars += [_with(bar, complete=True) for bar in counted] if meets and anchor.complete else counted
    return bars


def _runs(bars: Sequence[Bar]) -> Iterable[list[Bar]]:
    run = [bars[0]]
    for before, bar in pairwise(bars):
        if before.close_time != bar.open_time:
            yield run
            run = []
        run.append(bar)
    yield run


def _bars(symbol: str, minutes: pa.Table) -> list[tuple[Bar, bool]]:
    columns = [column_values(minutes.column(name)) for name in minutes.schema.names]
    found = []
    for open_time, *numbers, first_id, last_id, exact in zip(*columns, strict=True):
        bar = Bar(
            symbol=symbol,
            interval=ONE_MINUTE.name,
            open_time=open_time,
            close_time=open_time + MINUTE,
            **dict(zip(_NUMBERS, numbers, strict=True)),
            first_trade_id=NO_TRADE if first_id is None else first_id,
            last_trade_id=NO_TRADE if last_id is None else last_id,
            previous_trade_id=NO_TRADE,
            closed=True,
        )
        found.append((bar, exact))
    return found


def _is_whole(bar: Bar) -> bool:
    """Whether its own ids prove it, but for a later trade."""
    return (
        not bar.is_empty
        and bar.previous_trade_id + 1 == bar.first_trade_id
        and bar.trade_count == bar.last_trade_id - bar.first_trade_id + 1
        and bar.previous_trade_id != NO_TRADE
    )


def _same_numbers(one: Bar, other: Bar) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in _NUMBERS)


def _knows_more(bar: Bar, known: Bar) -> bool:
    """Whether an unproven bar is to replace another: never one that counts more trades."""
    return bar.trade_count >= known.trade_count and not _same_numbers(bar, known)


def _with(bar: Bar, **changes: object) -> Bar:
    fields = {name: getattr(bar, name) for name in bar.__struct_fields__}
    return Bar(**{**fields, **changes})
