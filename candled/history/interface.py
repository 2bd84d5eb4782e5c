"""What a history is to the rest of candled; the one on disk and the one in memory keep the same promises."""

from collections.abc import Callable, Sequence
from typing import Protocol

import attrs
import trio

from candled.domain.bar import Bar
from candled.domain.durations import Durations
from candled.domain.event import BarEvent


@attrs.frozen(slots=True, kw_only=True)
class HistoryStatistics:
    """The history at one moment."""

    rows_stored: int = 0
    """Bars and revisions stored since the opening."""
    commits: Durations = attrs.Factory(Durations)
    """What each commit to the journal took."""
    rows_unpublished: int = 0
    """Stored in the journal and not in a recent file yet."""
    journal_rows: int = 0
    journal_bytes: int = 0
    recent_files: int = 0
    sealed_files: int = 0
    superseded_files: int = 0
    recent_bytes: int = 0
    """Sizes as they were when the files were last put in order."""
    sealed_bytes: int = 0
    superseded_bytes: int = 0
    publications: int = 0
    write_errors: int = 0
    last_error: str | None = None
    """Why the disk refused the last write that failed; kept after recovery."""


class History(Protocol):
    """What the daemon needs of a history."""

    epoch: int
    """Number of this opening of the data directory, one higher each time."""

    @property
    def stored_position(self) -> int:
        """Every event up to this position is stored, and every query sees it."""

    async def store(self, events: Sequence[BarEvent]) -> None:
        """Store closed bars: durable when this returns. Events that are stored already do no harm."""

    async def serve(
        self,
        receive_channel: "trio.MemoryReceiveChannel[list[BarEvent]]",
        *,
        stored: Callable[[int], None] | None = None,
        task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Store what comes through the channel until it is closed, and keep the files in order meanwhile.

        ``stored`` is told the position up to which everything is durable, each time that it has risen.
        """

    async def newest_bars(self) -> dict[str, Bar]:
        """The newest stored 1-minute bar of each symbol."""

    async def bars(
        self, symbol: str, interval: str, start: int | None = None, end: int | None = None, limit: int = 1000
    ) -> list[Bar]:
        """Closed bars with ``start <= open_time < end``, newest revision, oldest first."""

    async def changed_since(
        self, position: int, symbols: Sequence[str] = (), intervals: Sequence[str] = ("1m",), limit: int = 1000
    ) -> list[tuple[int, Bar]]:
        """Every bar whose newest revision has a higher position, by position."""

    async def incomplete_bars(self, symbol: str, since: int = 0, limit: int = 100_000) -> list[Bar]:
        """Stored 1-minute bars from ``since`` on that are not complete, oldest first."""

    async def symbols(self) -> list[str]:
        """Every symbol that has a stored bar."""

    def statistics(self) -> HistoryStatistics:
        """How the history fares."""

    def not_ready_reason(self) -> str | None:
        """Why it cannot store now, in a sentence; None if it can."""
