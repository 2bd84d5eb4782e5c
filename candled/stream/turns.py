"""Fair turns for reading the history: a few requests at once, addresses in round-robin order.

One request for a year of bars keeps a core busy for a good part of a second. Thirty of them at once would starve
each other, the streams that resume, and the daemon's own reads.
"""

from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import attrs
import trio

from candled.domain.bar import Bar
from candled.domain.storage import BarReader

RETRY_SECONDS: Final = 1
"""Seconds that a refused client is asked to wait."""


class BusyError(Exception):
    """No turn is available.

    Attributes:
        is_own_fault: only this address has too many requests waiting; others are served.
    """

    def __init__(self, *, is_own_fault: bool) -> None:
        super().__init__("Too many requests wait to read stored bars: ask for fewer at once, or try later.")
        self.is_own_fault = is_own_fault


@attrs.frozen(kw_only=True)
class TurnLimits:
    """Limits of concurrent and waiting requests."""

    reading: int = 2
    """Concurrent reads: as many as the history has threads for."""
    waiting: int = 256
    waiting_per_address: int = 32
    seconds: float = 10.0
    """Maximum wait in seconds."""


class Turns:
    """Grants turns to addresses in round-robin order, and to the requests of an address in order.

    The invariant: while anybody waits, ``limits.reading`` turns are taken. So a finished turn passes to the
    first request of the next address, and is released only if none waits. Once closed, turns only end.

    Args:
        limits: limits of concurrent and waiting requests.
    """

    def __init__(self, limits: TurnLimits = TurnLimits()) -> None:
        self._limits = limits
        self._reading = 0
        self._waiting = 0
        self._queues: OrderedDict[str, deque[trio.Event]] = OrderedDict()
        self._closed = False
        self._unused = trio.Event()

    def __repr__(self) -> str:
        return f"Turns(reading={self._reading}, waiting={self._waiting})"

    @asynccontextmanager
    async def turn(self, address: str, *, is_stream: bool = False) -> AsyncIterator[None]:
        """Wait for a turn, and keep it while inside.

        Args:
            address: of the client.
            is_stream: a stream that replays, which waits without a timeout; the limit on streams bounds their
                number.

        Raises:
            BusyError: too many requests wait, the wait timed out, or the turns are closed.
        """
        if self._closed:
            raise BusyError(is_own_fault=False)
        if self._reading < self._limits.reading:
            self._reading += 1
        else:
            await self._wait(address, is_stream)
        try:
            yield
        finally:
            self._hand_on()

    async def close(self) -> None:
        """Grant no more turns, and return when the last one has ended: the history may then be closed."""
        self._closed = True
        if self._reading:
            await self._unused.wait()

    async def _wait(self, address: str, is_stream: bool) -> None:
        limits = self._limits
        if not is_stream:
            if len(self._queues.get(address, ())) >= limits.waiting_per_address:
                raise BusyError(is_own_fault=True)
            if self._waiting >= limits.waiting:
                raise BusyError(is_own_fault=False)
        granted = trio.Event()
        self._queues.setdefault(address, deque()).append(granted)
        self._waiting += 1
        try:
            with trio.move_on_after(float("inf") if is_stream else limits.seconds):
                await granted.wait()
        except trio.Cancelled:
            self._give_up(address, granted)
            raise
        if not granted.is_set():
            self._give_up(address, granted)
            raise BusyError(is_own_fault=False)

    def _give_up(self, address: str, granted: trio.Event) -> None:
        if granted.is_set():  # granted in the same moment
            self._hand_on()
            return
        self._waiting -= 1
        queue = self._queues[address]
        queue.remove(granted)
        if not queue:
            del self._queues[address]

    def _hand_on(self) -> None:
        if self._closed or not self._queues:
            self._reading -= 1
            if self._closed and not self._reading:
                self._unused.set()
            return
        address, queue = self._queues.popitem(last=False)
        queue.popleft().set()
        self._waiting -= 1
        if queue:
            self._queues[address] = queue


class TurnReader(BarReader):
    """The history as one client reads it: each read of bars waits for its turn.

    Args:
        stored: the history.
        turns: of all clients.
        address: of this one.
        is_stream: see ``Turns.turn``.
    """

    def __init__(self, stored: BarReader, turns: Turns, address: str, *, is_stream: bool) -> None:
        self._stored = stored
        self._turns = turns
        self._address = address
        self._is_stream = is_stream

    @property
    def history_id(self) -> str:
        """See ``StoredPosition``."""
        return self._stored.history_id

    @property
    def stored_position(self) -> int:
        """See ``StoredPosition``."""
        return self._stored.stored_position

    async def bars(
        self, symbol: str, interval: str, start: int | None = None, end: int | None = None, limit: int = 1000
    ) -> list[Bar]:
        """See ``BarReader``."""
        async with self._turns.turn(self._address, is_stream=self._is_stream):
            return await self._stored.bars(symbol, interval, start, end, limit)

    async def changed_since(
        self, position: int, symbols: Sequence[str] = (), intervals: Sequence[str] = ("1m",), limit: int = 1000
    ) -> list[tuple[int, Bar]]:
        """See ``BarReader``."""
        async with self._turns.turn(self._address, is_stream=self._is_stream):
            return await self._stored.changed_since(position, symbols, intervals, limit)

    async def incomplete_bars(self, symbol: str, since: int = 0, limit: int = 100_000) -> list[Bar]:
        """See ``BarReader``."""
        async with self._turns.turn(self._address, is_stream=self._is_stream):
            return await self._stored.incomplete_bars(symbol, since, limit)

    async def newest_bars(self) -> Mapping[str, Bar]:
        """See ``BarReader``."""
        return await self._stored.newest_bars()

    async def symbols(self) -> list[str]:
        """See ``BarReader``."""
        return await self._stored.symbols()
