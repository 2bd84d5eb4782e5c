"""What the stream needs of the history: stored closed bars, and where storing has got to."""

from collections.abc import Sequence
from typing import Protocol

from candled.domain.bar import Bar


class StoredBars(Protocol):
    """Closed bars, newest revision of each. Times in microseconds since the epoch."""

    @property
    def stored_position(self) -> int:
        """Every event up to this position is stored, and the two calls below see it."""

    async def bars(self, symbol: str, interval: str, start: int, end: int, limit: int) -> list[Bar]:
        """Closed bars with ``start <= open_time < end``, oldest first, at most ``limit``."""

    async def changed_since(
        self, position: int, symbols: Sequence[str], intervals: Sequence[str], limit: int
    ) -> list[tuple[int, Bar]]:
        """Closed bars whose newest revision is later than ``position``, with its position, lowest first."""
