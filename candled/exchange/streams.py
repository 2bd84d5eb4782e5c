"""Subscriptions to messages: what a connection is to be sent, and when. Plain: no sockets, no clock."""

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from candled.exchange.ledger import Ledger
from candled.exchange.market import MINUTE, Fill
from candled.exchange.replay import Frame
from candled.exchange.wire import aggregate_event, combined, kline_event, trade_event

if TYPE_CHECKING:
    from candled.exchange.klines import KlineSum

EVENT_DELAY: Final = 1_000
"""Exchange microseconds from a trade to its message: the event time is that much later."""

KLINE_PERIOD: Final = 2_000_000
"""Exchange microseconds between messages of a running kline."""

_KLINE_DELAY: Final = 4_000
_LOOK_AHEAD_BLOCKS: Final = 200

Message = tuple[str, str]
"""Symbol and text of a message."""


class _Tape(Protocol):
    """Messages of one kind in order of time."""

    due: int | None
    """When the next one goes out, or when to look again; None: nothing more will come."""

    def play(self, until: int, out: list[Message], limit: int) -> None:
        """Add the messages due by ``until``, at least one if there is one, and about ``limit`` in all at most."""

    def rewind(self) -> None:
        """Look again at what comes next: the market changed."""


class Feeder:
    """The streams of one connection: places in the ledger, not queues, so a slow reader costs no memory."""

    def __init__(self, ledger: Ledger, frames: Sequence[Frame], *, is_combined: bool, unit: int) -> None:
        """No stream yet.

        Args:
            ledger: Where fills come from.
            frames: Captured messages, which go out instead of ones made from fills.
            is_combined: Whether messages are wrapped with their stream's name.
            unit: Microseconds in the unit of times.
        """
        self._ledger = ledger
        self.is_combined = is_combined
        self.unit = unit
        self._names: dict[str, None] = {}
        self._captured = frozenset(frame.stream for frame in frames)
        self._capture = _Capture(self, frames)
        self._tapes: dict[tuple[str, str], _Tape] = {}
        self._heap: list[tuple[int, int, _Tape]] = []
        self._count = 0
        self._symbols = {rules.symbol.lower(): rules.symbol for rules in ledger.symbols.values()}

    @property
    def names(self) -> list[str]:
        """Streams subscribed to, known to the exchange or not."""
        return list(self._names)

    def subscribe(self, names: Iterable[str], now: int) -> None:
        """Send these streams too, from exchange time ``now`` on. Unknown ones stay silent."""
        for name in names:
            if name in self._names:
                continue
            self._names[name] = None
            symbol, kind = self._split(name)
            if name in self._captured:
                self._start(("", "capture"), self._capture, now)
            elif symbol and kind in ("trade", "aggTrade"):
                self._start((symbol, "trades"), _Trades(self, self._ledger, symbol, now), now)
            elif symbol and kind == "kline_1m":
                self._start((symbol, "klines"), _Klines(self, self._ledger, symbol, now), now)

    def unsubscribe(self, names: Iterable[str]) -> None:
        """Send these streams no more."""
        for name in names:
            self._names.pop(name, None)
        wanted = {self._split(name) for name in self._names}
        for symbol, kind in list(self._tapes):
            kinds = {"trades": ("trade", "aggTrade"), "klines": ("kline_1m",)}.get(kind)
            if kinds is not None and not any((symbol, kind) in wanted for kind in kinds):
                del self._tapes[symbol, kind]
        self.rewind()

    def wants(self, name: str) -> bool:
        """Whether that stream is subscribed to."""
        return name in self._names

    def wrap(self, name: str, payload: str) -> str:
        """A payload as this connection gets it."""
        return combined(name, payload) if self.is_combined else payload

    def rewind(self) -> None:
        """Look again at everything that is to come: the market or the subscriptions changed."""
        self._heap.clear()
        for tape in self._tapes.values():
            tape.rewind()
            self._push(tape)

    @property
    def due(self) -> int | None:
        """Exchange time at which there is something to do; None: never."""
        return self._heap[0][0] if self._heap else None

    def take(self, now: int, limit: int) -> list[Message]:
        """The messages due by ``now``, in order of time, about ``limit`` of them at most."""
        out: list[Message] = []
        heap = self._heap
        while heap and heap[0][0] <= now and len(out) < limit:
            tape = heapq.heappop(heap)[2]
            tape.play(min(now, heap[0][0]) if heap else now, out, limit)
            self._push(tape)
        return out

    def _split(self, name: str) -> tuple[str | None, str]:
        symbol, _, kind = name.partition("@")
        return self._symbols.get(symbol), kind

    def _start(self, key: tuple[str, str], tape: _Tape, now: int) -> None:
        if key not in self._tapes:
            self._tapes[key] = tape
            if isinstance(tape, _Capture):
                tape.seek(now)
            self._push(tape)

    def _push(self, tape: _Tape) -> None:
        if tape.due is not None:
            self._count += 1
            heapq.heappush(self._heap, (tape.due, self._count, tape))


class _Trades:
    """``@trade`` and ``@aggTrade`` of one symbol, from the ledger."""

    def __init__(self, feeder: Feeder, ledger: Ledger, symbol: str, now: int) -> None:
        self._feeder = feeder
        self._ledger = ledger
        self._symbol = symbol
        self._trade_name = f"{symbol.lower()}@trade"
        self._aggregate_name = f"{symbol.lower()}@aggTrade"
        self._next_id = ledger.last_id(symbol, now - EVENT_DELAY) + 1
        self.due: int | None = None
        self.rewind()

    def rewind(self) -> None:
        market = self._ledger.market
        self._index = market.block_of_trade(self._symbol, self._next_id)
        self._block: Sequence[Fill] = self._ledger.block(self._symbol, self._index)
        self._place = bisect_left(self._block, self._next_id, key=attrgetter("last_id"))
        self._find()

    def _find(self) -> None:
        """Set ``due``, going on to the next block that holds anything."""
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
        feeder, symbol, unit = self._feeder, self._symbol, self._feeder.unit
        trades, aggregates = feeder.wants(self._trade_name), feeder.wants(self._aggregate_name)
        block, place, newest = self._block, self._place, until - EVENT_DELAY
        size = len(block)
        while place < size and block[place].time <= newest and len(out) < limit:
            fill = block[place]
            end = place + 1
            while end < size and block[end].aggregate_id == fill.aggregate_id:
                end += 1
            fills = block[place:end]
            event_time = fill.time + EVENT_DELAY
            if trades and fill.first_id == fill.last_id:
                name = self._trade_name
                out.extend(
                    (symbol, feeder.wrap(name, trade_event(symbol, one, event_time, unit))) for one in fills
                )
            if aggregates:
                text = aggregate_event(symbol, fills, event_time, unit)
                out.append((symbol, feeder.wrap(self._aggregate_name, text)))
            self._next_id = fills[-1].last_id + 1
            place = end
        self._place = place
        self._find()


class _Klines:
    """``@kline_1m`` of one symbol, from the ledger: the running minute every two seconds, and its end."""

    def __init__(self, feeder: Feeder, ledger: Ledger, symbol: str, now: int) -> None:
        self._feeder = feeder
        self._ledger = ledger
        self._symbol = symbol
        self._name = f"{symbol.lower()}@kline_1m"
        self._tick = now - now % KLINE_PERIOD + KLINE_PERIOD
        self._counted = 0
        self._sum: KlineSum | None = None
        self.due: int | None = self._tick + _KLINE_DELAY

    def rewind(self) -> None:
        self._sum = None

    def play(self, until: int, out: list[Message], limit: int) -> None:
        start = (self._tick - 1) // MINUTE * MINUTE
        end, symbol, ledger = start + MINUTE, self._symbol, self._ledger
        if self._sum is None or self._sum.start != start:
            self._sum = ledger.kline_sum(symbol, start, end, self._tick - 1)
        else:
            self._sum.add(ledger.fills_between(symbol, self._counted, self._tick))
        self._counted = self._tick
        kline = self._sum.kline() if ledger.market.has_kline(symbol, start, end) else None
        if kline is not None:
            event_time, unit = self._tick + _KLINE_DELAY, self._feeder.unit
            text = kline_event(symbol, "1m", kline, event_time, unit, closed=self._tick == end)
            out.append((symbol, self._feeder.wrap(self._name, text)))
        self._tick += KLINE_PERIOD
        self.due = self._tick + _KLINE_DELAY


class _Capture:
    """Captured messages, as they came."""

    def __init__(self, feeder: Feeder, frames: Sequence[Frame]) -> None:
        self._feeder = feeder
        self._frames = frames
        self._place = 0
        self.due: int | None = frames[0].due if frames else None

    def seek(self, now: int) -> None:
        """Go on with the first message that is not due before ``now``."""
        self._place = bisect_left(self._frames, now, key=attrgetter("due"))
        self.rewind()

    def rewind(self) -> None:
        self.due = self._frames[self._place].due if self._place < len(self._frames) else None

    def play(self, until: int, out: list[Message], limit: int) -> None:
        feeder = self._feeder
        end = bisect_right(self._frames, until, key=attrgetter("due"))
        while self._place < end and len(out) < limit:
            frame = self._frames[self._place]
            self._place += 1
            if feeder.wants(frame.stream):
                payload = msgspec.json.encode(frame.in_unit(feeder.unit)).decode()
                out.append((frame.data["s"], feeder.wrap(frame.stream, payload)))
        self.rewind()
