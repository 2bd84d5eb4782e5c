"""Messages of a connection in order of time, as places in the ledger: a slow reader costs no memory. Plain."""

import heapq
from bisect import bisect_left
from collections.abc import Sequence
from operator import attrgetter
from typing import Final, Protocol

from candled.embedded_exchange.ledger import Ledger
from candled.embedded_exchange.market import Fill

EVENT_DELAY: Final = 1_000
"""Exchange microseconds from a trade to its message: the event time is that much later."""

_LOOK_AHEAD_BLOCKS: Final = 200

Message = tuple[str, str]
"""Symbol and text of a message."""


class Tape(Protocol):
    """Messages of one kind in order of time."""

    due: int | None
    """Time of the next message, or of the next check; None: no more messages."""

    def play(self, until: int, out: list[Message], limit: int) -> None:
        """Add the messages due by ``until``: at least one if any is due, about ``limit`` in total at most."""

    def rewind(self) -> None:
        """Recompute what comes next, after the market changed."""


class Tapes:
    """The tapes of one connection, played in order of time."""

    def __init__(self) -> None:
        self._tapes: dict[tuple[str, str], Tape] = {}
        self._heap: list[tuple[int, int, Tape]] = []
        self._count = 0

    @property
    def due(self) -> int | None:
        """Exchange time of the next message; None: never."""
        return self._heap[0][0] if self._heap else None

    def take(self, now: int, limit: int) -> list[Message]:
        """Return the messages due by ``now``, in order of time, about ``limit`` of them at most."""
        out: list[Message] = []
        heap = self._heap
        while heap and heap[0][0] <= now and len(out) < limit:
            tape = heapq.heappop(heap)[2]
            tape.play(min(now, heap[0][0]) if heap else now, out, limit)
            self._push(tape)
        return out

    def rewind(self) -> None:
        """Recompute what comes next in every stream, after a change of the market or the subscriptions."""
        self._heap.clear()
        for tape in self._tapes.values():
            tape.rewind()
            self._push(tape)

    def _start(self, key: tuple[str, str], tape: Tape) -> None:
        if key not in self._tapes:
            self._tapes[key] = tape
            self._push(tape)

    def _push(self, tape: Tape) -> None:
        if tape.due is not None:
            self._count += 1
            heapq.heappush(self._heap, (tape.due, self._count, tape))


class FillTape:
    """The fills of one symbol from the ledger; what is sent of them is for who extends it."""

    def __init__(self, ledger: Ledger, symbol: str, now: int) -> None:
        self._ledger = ledger
        self._symbol = symbol
        self._next_id = ledger.last_id(symbol, now - EVENT_DELAY) + 1
        self._reset_at = ledger.ids_reset_at.get(symbol)
        self.due: int | None = None
        self.rewind()

    def rewind(self) -> None:
        """See ``Tape``."""
        market, reset_at = self._ledger.market, self._ledger.ids_reset_at.get(self._symbol)
        if self._reset_at != reset_at:
            self._reset_at, self._next_id = reset_at, 0
        self._index = market.block_of_trade(self._symbol, self._next_id)
        self._block: Sequence[Fill] = self._ledger.block(self._symbol, self._index)
        self._place = bisect_left(self._block, self._next_id, key=attrgetter("last_id"))
        self._find()

    def _find(self) -> None:
        """Set ``due``, skipping blocks without fills."""
        market, symbol = self._ledger.market, self._symbol
        stop = market.blocks(symbol).stop
        for _ in range(_LOOK_AHEAD_BLOCKS):
            if self._place < len(self._block):
                self.due = self._block[self._place].time + EVENT_DELAY
                return
            if self._index + 1 >= stop:
                self.due = None
                return
            self._index += 1
            self._block = self._ledger.block(symbol, self._index)
            self._place = 0
        self.due = market.block_start(symbol, self._index)

    def play(self, until: int, out: list[Message], limit: int) -> None:
        """See ``Tape``."""
        block, place, newest = self._block, self._place, until - EVENT_DELAY
        size = len(block)
        while place < size and block[place].time <= newest and len(out) < limit:
            fill = block[place]
            end = place + 1
            while end < size and block[end].aggregate_id == fill.aggregate_id:
                end += 1
            fills = block[place:end]
            self._send(fills, fill.time + EVENT_DELAY, out)
            self._next_id = fills[-1].last_id + 1
            place = end
        self._place = place
        self._find()

    def _send(self, fills: Sequence[Fill], event_time: int, out: list[Message]) -> None:
        """Add the messages of an aggregate's fills."""
        raise NotImplementedError
