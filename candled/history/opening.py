"""Open a data directory: lock it, find its files, read the journal, and index the rows that only it has."""

import random
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pyarrow as pa
import trio

from candled.domain.event import POSITION_BITS
from candled.domain.interval import ONE_MINUTE
from candled.history import database
from candled.history.columns import bars_from_rows, cast_rows, positions_from_rows
from candled.history.damage import DamageControl
from candled.history.directory import hold_directory, raise_epoch, remove_temporary
from candled.history.durable import DurableHistory
from candled.history.durable_io import Files
from candled.history.errors import not_writable
from candled.history.hot_index import HotIndex
from candled.history.journal import JournalWriter
from candled.history.query.queries import BarQueries
from candled.history.segments.layout import SEQUENCES_PER_EPOCH, Layout
from candled.history.segments.names import Recent, Segment
from candled.history.segments.store import DamagedFilesError, Store
from candled.history.settings import HistorySettings
from candled.history.unpublished import UnpublishedRows

_READERS: Final = 2
"""Maximum number of concurrent queries."""


@asynccontextmanager
async def open_history(
    data_dir: Path,
    *,
    exchange: str,
    settings: HistorySettings | None = None,
    files: Files | None = None,
    rng: random.Random | None = None,
    epoch_min: int = 0,
) -> AsyncIterator[DurableHistory]:
    """Open the data directory, and repair what an earlier process left unfinished or the disk has damaged.

    Args:
        data_dir: The data directory, created if it does not exist.
        exchange: Identity of the exchange whose bars it holds; empty: any, see ``bind_to_exchange``.
        settings: How bars are kept.
        files: File operations; tests pass failing ones.
        rng: Source of the retries' jitter.
        epoch_min: Lowest number that this opening may have.

    Raises:
        DataDirectoryError: the directory cannot be used as it is.
    """
    now = trio.current_time()
    chosen = (settings or HistorySettings(), files or Files(), rng or random.Random())  # noqa: S311 - jitter
    with ExitStack() as stack:
        yield await trio.to_thread.run_sync(
            lambda: _open(stack, Path(data_dir).absolute(), exchange, *chosen, now, epoch_min)
        )


def _open(
    stack: ExitStack,
    path: Path,
    exchange: str,
    settings: HistorySettings,
    files: Files,
    rng: random.Random,
    now: float,
    epoch_min: int,
) -> DurableHistory:
    try:
        directory = stack.enter_context(hold_directory(path, exchange=exchange, files=files))
        remove_temporary(path, files)
        queries = database.open_memory_database(threads=str(_READERS), memory_limit="512MB")
        stack.enter_context(queries)
        store = Store(directory, files, queries, settings.quote_decimals)
        stack.callback(store.close)
        segments, recents, damaged = store.find()
        unpublished = UnpublishedRows(settings.quote_decimals)
        journal_writer = JournalWriter(directory, files, unpublished, settings.quote_decimals)
        stack.callback(journal_writer.close)
        journal = journal_writer.rows()
        known = 0 if directory.found_identity else _epoch_after(journal, segments, recents)
        directory = raise_epoch(directory, max(known, epoch_min), files)
    except OSError as error:
        raise not_writable(path, error) from error
    layout = Layout(
        epoch=directory.epoch,
        grace=settings.grace,
        seal_delay=settings.seal_delay_microseconds,
        compact_files=settings.compact_files,
        retention=settings.retention_microseconds,
        refold_delay=settings.refold_delay,
    )
    layout.add(now, *segments, *recents)
    rows, hot_index = _index(store, layout, journal, damaged)
    unpublished.append(rows)
    damage = DamageControl(directory, files, store, layout, hot_index, unpublished, journal_writer)
    try:
        damage.remove_at_start(damaged)
    except OSError as error:
        raise not_writable(path, error) from error
    return DurableHistory(
        directory=directory,
        files=files,
        settings=settings,
        store=store,
        layout=layout,
        hot_index=hot_index,
        unpublished=unpublished,
        journal_writer=journal_writer,
        damage=damage,
        queries=BarQueries(queries, store, layout, hot_index, unpublished, damage, readers=_READERS),
        rng=rng,
    )


def _index(
    store: Store, layout: Layout, journal: pa.Table, damaged: list[Segment | Recent]
) -> tuple[pa.Table, HotIndex]:
    """Find the rows that only the journal has, and build the hot index; leave out damaged files."""
    while True:
        recents, segments = layout.recents, layout.segments
        try:
            # Rows from DuckDB allow nulls everywhere: cast to our schema to concatenate them with new rows.
            rows = cast_rows(store.unpublished(journal, recents, segments))
            newest = bars_from_rows(store.newest(recents, segments, rows), ONE_MINUTE.name)
            first = store.first(recents, segments, rows)
            return rows, HotIndex(newest={bar.symbol: bar for bar in newest}, first=first)
        except DamagedFilesError as error:
            layout.forget(*error.files)
            damaged += error.files


def _epoch_after(journal: pa.Table, segments: Iterable[Segment], recents: Iterable[Recent]) -> int:
    """Return an epoch above every earlier one, for a directory without its identity file."""
    positions = positions_from_rows(journal)
    sequences = [*(segment.sequence for segment in segments), *(recent.last for recent in recents)]
    return 1 + max(max(positions, default=0) >> POSITION_BITS, max(sequences, default=0) // SEQUENCES_PER_EPOCH)
