"""Closed bars out of a history in an object store, for a process that has none of its own.

The store is listed now and then; of what is listed, only the files of a question's symbol and time are fetched,
into the cache of ``candled sql``. Older objects never change, so a listing that is half a minute old lacks nothing
but the newest bars, and an outage of the store is noticed only by questions for files that were never read here.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import attrs
import duckdb
import pyarrow as pa
import structlog
import trio

from candled.domain.bar import Bar
from candled.domain.interval import DAY, MINUTE, ONE_MINUTE, Interval
from candled.domain.limits import READ_MINUTES_MAX
from candled.domain.storage import BarsUnavailableError
from candled.history import sql
from candled.history.column_names import ROW_COLUMNS
from candled.history.columns import bars_from_rows
from candled.history.errors import DamagedFileError
from candled.history.objects.bucket import Bucket
from candled.history.objects.cache import HistoryCache
from candled.history.objects.errors import ObjectStoreError, OtherHistoryError
from candled.history.objects.restoring import LISTINGS_MAX, list_files, select_live
from candled.history.query.connect import Source, connect_source
from candled.history.query.queries import run_query
from candled.history.segments.names import Recent, Segment

LISTING_SECONDS: Final = 30.0
"""Maximum age of a listing; an older one is replaced before a question is answered."""
RETRY_SECONDS: Final = 5.0
"""Before the store is asked again after a failure: until then the last listing counts."""
_FIRST_WINDOW: Final = 1_000 * MINUTE
_LAST_WINDOW: Final = READ_MINUTES_MAX * MINUTE
Paths = dict[str, list[Path]]
"""Files by kind, as ``list_directory``."""
_ROWS: Final = ", ".join(ROW_COLUMNS)
_log = structlog.get_logger(__name__)


@attrs.frozen
class _Listing:
    """The live files of the store."""

    sealed: dict[str, list[Segment]] = attrs.Factory(dict)
    """By symbol, oldest first."""
    recents: tuple[Recent, ...] = ()


class StoredBars:
    """Questions to a stored history.

    Args:
        bucket: where it is.
        exchange: identity of the exchange whose bars are wanted.
        open_cache: opens the cache, see ``HistoryCache``; asks the store, in a thread.
    """

    def __init__(self, bucket: Bucket, exchange: str, open_cache: Callable[[Bucket], HistoryCache]) -> None:
        self._bucket = bucket
        self._exchange = exchange
        self._open_cache = open_cache
        self._cache: HistoryCache | None = None
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._listing = _Listing()
        self._list_time = -math.inf
        self._selected: Paths = {}
        self._turn = trio.Lock()
        self._limiter = trio.CapacityLimiter(1)
        self._error: ObjectStoreError | OtherHistoryError | None = None

    @property
    def problem(self) -> str | None:
        """Why the store cannot be listed now, in a sentence; None if it can."""
        return None if self._error is None else str(self._error)

    async def open(self, patience: float) -> None:
        """List the store for the first time, within a few seconds; if it does not answer, it is asked again later.

        Args:
            patience: seconds.

        Raises:
            OtherHistoryError: it holds bars of another exchange, or of another version.
        """
        with trio.move_on_after(patience):
            await self._refresh()
        if isinstance(self._error, OtherHistoryError):
            raise self._error

    async def _refresh(self) -> None:
        """List the store, if the last listing is not young."""
        if trio.current_time() < self._list_time:
            return
        try:
            self._cache, self._listing = await trio.to_thread.run_sync(self._list, abandon_on_cancel=True)
        except (ObjectStoreError, OtherHistoryError) as error:
            if str(error) != self.problem:
                _log.warning("cannot list the history", reason=str(error))
            self._error = error
            self._list_time = trio.current_time() + RETRY_SECONDS
        else:
            self._error = None
            self._list_time = trio.current_time() + LISTING_SECONDS

    async def bars(
        self, symbol: str, rule: Interval, start: int, end: int, limit: int, known_until: int | None = None
    ) -> list[Bar]:
        """Return closed bars with ``start <= open_time < end``, oldest first, at most ``limit``.

        Args:
            symbol: of the bars.
            rule: their interval.
            start: microseconds since the epoch.
            end: exclusive; of longer bars, the last one's minutes may reach past it.
            limit: at least 1.
            known_until: time up to which bars are known to have closed; None: by the newest stored minute.

        Raises:
            BarsUnavailableError: the store does not answer, and was never listed, or a file is needed that was
                never read here.
        """
        async with self._turn:
            await self._refresh()
            if self._cache is None:
                raise BarsUnavailableError(f"Older bars cannot be read now: {self.problem}")
            sealed = self._listing.sealed.get(symbol, [])
            if not (sealed or self._listing.recents):
                return []
            low = max(start, rule.floor(sealed[0].start)) if sealed else start
            if rule.floor(low) != low:
                low = rule.end(rule.floor(low))
            found: list[Bar] = []
            window = min(max(limit * (rule.length or 31 * DAY), _FIRST_WINDOW), _LAST_WINDOW)
            while low < end and len(found) < limit:
                # Behind the sealed files there are few bars: one window.
                top = min(end, rule.end(rule.floor(low + window)))
                if not sealed or low + window >= sealed[-1].end:
                    top = end
                found += await self._window(symbol, rule, low, top, limit - len(found), known_until)
                low, window = top, min(window * 2, _LAST_WINDOW)
            return found

    async def _window(
        self, symbol: str, rule: Interval, low: int, top: int, limit: int, known_until: int | None
    ) -> list[Bar]:
        high = top if rule is ONE_MINUTE else rule.end(rule.floor(top - 1))
        await self._select(symbol, low, high)
        name = sql.text(symbol)
        minutes = f"FROM minutes WHERE symbol = {name} AND open_time >= make_timestamptz({low})"
        rows = f"{minutes} AND open_time < make_timestamptz({high})"
        if rule is not ONE_MINUTE:
            known = f"SELECT {name} AS symbol, make_timestamptz({known_until}) AS known_until"
            newest = sql.newest_minutes(minutes) if known_until is None else known
            rows = sql.longer_bars(rows, newest, [rule])
        query = f"SELECT {_ROWS} FROM ({rows}) WHERE open_time < make_timestamptz({top}) "
        table = await self._read(f"{query} ORDER BY open_time LIMIT {limit}")
        return await trio.to_thread.run_sync(bars_from_rows, table, rule.name)

    async def _select(self, symbol: str, low: int, high: int) -> None:
        """Fetch the files of a question, and let the next query see them; list again if some are gone."""
        try:
            for _ in range(LISTINGS_MAX):
                sealed = self._listing.sealed.get(symbol, [])
                wanted: list[Segment | Recent] = [s for s in sealed if s.start < high and low < s.end]
                wanted += self._listing.recents
                if await trio.to_thread.run_sync(self._fetch, wanted, abandon_on_cancel=True):
                    return
                self._list_time = -math.inf
                await self._refresh()
        except (ObjectStoreError, DamagedFileError) as error:
            raise BarsUnavailableError(f"Older bars cannot be read now: {error}") from error
        raise BarsUnavailableError("Older bars cannot be read now: the store changes while it is read. Try again.")

    async def _read(self, query: str) -> pa.Table:
        assert self._connection is not None
        with self._connection.cursor() as cursor:
            try:
                return await run_query(lambda: cursor.sql(query).to_arrow_table(), cursor, self._limiter)
            except (duckdb.Error, OSError) as error:  # a file that was removed or damaged in the cache
                raise BarsUnavailableError("Older bars cannot be read now: try again in a moment.") from error

    def _list(self) -> tuple[HistoryCache, _Listing]:
        cache = self._cache or self._open_cache(self._bucket)
        if cache.identity.exchange != self._exchange:
            raise OtherHistoryError(
                f"The history in {self._bucket.url} has bars of {cache.identity.exchange}, not of "
                f"{self._exchange}: name that of this exchange."
            )
        sealed: dict[str, list[Segment]] = defaultdict(list)
        recents = list[Recent]()
        for file in select_live(list_files(self._bucket)):
            if isinstance(file, Segment):
                sealed[file.symbol].append(file)
            else:
                recents.append(file)
        for files in sealed.values():
            files.sort(key=lambda each: each.start)
        return cache, _Listing(dict(sealed), tuple(recents))

    def _fetch(self, files: Sequence[Segment | Recent]) -> bool:
        assert self._cache is not None
        if not self._cache.fetch(files):
            return False
        found = self._cache.listing(files)
        self._selected = {**found, "newest": found["sealed"]}
        if self._connection is None:
            source = Source(self._cache.root, lambda: self._selected, self._cache.remove)
            self._connection = connect_source(source)
        return True
