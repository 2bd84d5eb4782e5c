"""The storage contract: what the other parts need of a history, in four roles.

A history on disk and one in memory give the same guarantees. Closed 1-minute bars go in, each under its event's
position; closed bars of every interval come out, always the newest revision.
Times are microseconds since the epoch.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from candled.domain.bar import Bar
from candled.domain.event import BarEvent
from candled.domain.status import Gap


class BarsUnavailableError(Exception):
    """Stored bars that are asked for cannot be read now; the text, a sentence, may be shown to clients."""


class StoredPosition(Protocol):
    """Progress of storing."""

    @property
    def history_id(self) -> str:
        """Identity of the history, 16 hexadecimal digits: a position means nothing in another one."""

    @property
    def stored_position(self) -> int:
        """Every event up to this position is durable, and every query sees it."""


class BarReader(StoredPosition, Protocol):
    """Queries over the stored bars."""

    async def bars(
        self, symbol: str, interval: str, start: int | None = None, end: int | None = None, limit: int = 1000
    ) -> list[Bar]:
        """Return closed bars with ``start <= open_time < end``, oldest first, at most ``limit``."""

    async def changed_since(
        self, position: int, symbols: Sequence[str] = (), intervals: Sequence[str] = ("1m",), limit: int = 1000
    ) -> list[tuple[int, Bar]]:
        """Return closed bars whose newest revision is later than ``position``, with its position, lowest first."""

    async def incomplete_bars(self, symbol: str, since: int = 0, limit: int = 100_000) -> list[Bar]:
        """Return stored 1-minute bars from ``since`` on that are not complete, oldest first."""

    async def newest_bars(self) -> Mapping[str, Bar]:
        """Return the newest stored 1-minute bar of each symbol."""

    async def symbols(self) -> list[str]:
        """Return every symbol that has a stored bar."""


class BarSource(BarReader, Protocol):
    """What an engine continues from."""

    async def disputed(self, symbol: str) -> list[Gap]:
        """Return the trade ids that sources contradicted each other about, with the reasons."""


class BarWriter(Protocol):
    """Where closed bars are stored."""

    async def store(self, events: Sequence[BarEvent]) -> None:
        """Store closed bars. Storing an event again changes nothing.

        A history returns once they are durable. A writer that queues them for a history returns once they are
        queued: wait for ``stored_position`` to know that they are durable.
        """
