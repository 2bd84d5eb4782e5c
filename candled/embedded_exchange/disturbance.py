"""What becomes of the messages of one connection while faults are on. Plain: no clock, no I/O."""

import heapq
from collections.abc import Callable, Iterable
from random import Random
from typing import Final

import attrs

from candled.embedded_exchange.faults import Faults, chance

_MESSAGE_RATES: Final = ("lose", "double", "reorder", "malformed", "late", "half")
_LATE_S: Final = 1.0

Restate = Callable[[int, str, str], Iterable[str]]
"""What a connection, by its number, sends for a symbol's message: the message, another one, or several."""


@attrs.frozen(slots=True)
class Outgoing:
    """A message as it goes out; ``half``: the connection ends inside its frame; ``endless``: it has no end."""

    text: str
    half: bool = False
    endless: bool = False


class Disturbance:
    """What becomes of the messages of one connection. Draws in their order, so it can be repeated."""

    def __init__(self, faults: Faults, connection: int, restate: Restate) -> None:
        """Make that of the connection of that number; ``restate``: what it sends for a symbol's message."""
        self._restate = restate
        self._faults = faults
        self._connection = connection
        self._random = Random(f"{faults.seed}/{connection}")  # noqa: S311 (faults, not secrets)
        self._held: list[tuple[float, int, str]] = []
        self._swapped: str | None = None
        self._count = 0

    @property
    def next_release(self) -> float | None:
        """Monotonic time at which a message that was held back is due."""
        return self._held[0][0] if self._held else None

    def stretch(self, name: str) -> float:
        """How much sooner or later than asked for a fault of this connection comes: a factor from 0.5 to 1.5."""
        return 0.5 + chance(self._faults.seed, name, self._connection)

    def pass_on(self, messages: Iterable[tuple[str, str]], now: float) -> list[Outgoing]:
        """What goes out at monotonic time ``now`` for these (symbol, text) messages."""
        out: list[Outgoing] = []
        for symbol, text in messages:
            if not self._faults.is_on("stall", now, symbol):
                for stated in self._restate(self._connection, symbol, text):
                    self._draw(stated, now, out)
        while self._held and self._held[0][0] <= now:
            out.append(Outgoing(heapq.heappop(self._held)[2]))
        return out

    def _draw(self, text: str, now: float, out: list[Outgoing]) -> None:
        happens = {name: self._happens(name) for name in _MESSAGE_RATES}
        if happens["lose"]:
            return
        if happens["late"]:
            self._count += 1
            heapq.heappush(self._held, (now + self._faults.seconds("late", _LATE_S), self._count, text))
            return
        if happens["reorder"] and self._swapped is None:
            self._swapped = text
            return
        if happens["half"]:
            out.append(Outgoing(text, half=True))
            return
        if self._happens("endless"):
            out.append(Outgoing(text, endless=True))
            return
        out.append(Outgoing(text[: len(text) * 2 // 3] if happens["malformed"] else text))
        if happens["double"]:
            out.append(Outgoing(text))
        if self._swapped is not None:
            out.append(Outgoing(self._swapped))
            self._swapped = None

    def _happens(self, name: str) -> bool:
        rate = self._faults.rate(name)
        return rate > 0 and self._random.random() < rate
