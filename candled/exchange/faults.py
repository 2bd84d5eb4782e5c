"""Faults on request: how they are called, which are on, what becomes of each message. Plain: no clock, no I/O.

A comma-separated list of ``name``, ``name=value``, ``name:SYMBOL`` or ``name:SYMBOL=value``. A rate is a chance
per message or request (0 to 1), a time is written like 500ms, 30s, 5m or 2h. ``off`` as a value ends a fault.

On the streams:

- ``lose=RATE`` ``double=RATE`` ``reorder=RATE`` ``malformed=RATE``: a message is lost, sent twice, sent after the
  next one, or sent as broken JSON
- ``late=RATE`` or ``late=RATE/TIME``: a message comes TIME later (1 s)
- ``half=RATE``: the connection ends in the middle of a frame; without a value, each does so now
- ``cut=TIME``: each connection is cut after about TIME; without a value, each is cut now
- ``shutdown=TIME``: each connection is told ``serverShutdown`` after TIME; without a value, each is told now
- ``stall`` ``stall:SYMBOL``, for ever or ``=TIME``: nothing more is sent, of any symbol or of one
- ``nopong``: the exchange answers no pings and sends none
- ``refuse``: new connections are refused

On REST:

- ``rest_lag=TIME``: trades show only TIME (of the exchange's clock) after they happened
- ``rest_delay=TIME``: every answer takes TIME
- ``rest_500=RATE`` ``rest_429=RATE`` ``rest_418=RATE``: the request is answered with that status
- ``rest_half=RATE``: the connection ends in the middle of the answer
- ``unfillable=RATE``: of the runs of 50 trade ids, so many are not to be had

On the market, from now on (given at the start, for all its past):

- ``placeholder=RATE`` ``skip=RATE``: so many aggregates have price and quantity 0, or ids that do not exist
- ``halt:SYMBOL``: the symbol is not traded until ``halt:SYMBOL=off``
- ``delist:SYMBOL``: the same, and REST does not know it
"""

import heapq
import re
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from random import Random
from typing import Final

import attrs

_MESSAGE_RATES: Final = ("lose", "double", "reorder", "malformed", "late", "half")
_REQUEST_RATES: Final = ("rest_500", "rest_429", "rest_418", "rest_half")
_RATES: Final = frozenset((*_MESSAGE_RATES, *_REQUEST_RATES, "unfillable", "placeholder", "skip"))
_TIMES: Final = frozenset({"cut", "shutdown", "rest_lag", "rest_delay"})
_SWITCHES: Final = frozenset({"stall", "nopong", "refuse", "halt", "delist"})
_AT_ONCE: Final = frozenset({"cut", "shutdown", "half"})
_NEED_SYMBOL: Final = frozenset({"halt", "delist"})
_FOR_SYMBOLS: Final = frozenset({"stall", "halt", "delist"})

_ITEM: Final = re.compile(r"(?P<name>[a-z0-9_]+)(?::(?P<symbol>[^=,:\s]+))?(?:=(?P<value>\S+))?")
_TIME: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LATE_S: Final = 1.0
_RUN: Final = 50
"""Trade ids that are unfillable together."""

MARKET_FAULTS: Final = frozenset({"placeholder", "skip", "halt", "delist"})
"""Those that change the market itself rather than the way to it."""


@attrs.frozen(slots=True)
class Fault:
    """One item of the list, read."""

    name: str
    symbol: str | None = None
    rate: float | None = None
    seconds: float | None = None
    off: bool = False

    @property
    def at_once(self) -> bool:
        """Whether it is one blow, now, to what is connected."""
        return self.name in _AT_ONCE and self.rate is None and self.seconds is None and not self.off


def parse_faults(text: str) -> list[Fault]:
    """Read a list of faults; see the module.

    Raises:
        ValueError: something in it is not a fault; the text says what and how to write it.
    """
    return [_parse(item.strip()) for item in text.split(",") if item.strip()]


def _parse(item: str) -> Fault:
    match = _ITEM.fullmatch(item)
    names = _RATES | _TIMES | _SWITCHES
    if match is None or match["name"] not in names:
        raise ValueError(f"unknown fault {item!r}: choose from {' '.join(sorted(names))}")
    name, symbol, value = match["name"], match["symbol"], match["value"]
    if symbol is not None and name not in _FOR_SYMBOLS:
        raise ValueError(f"fault {name} is not for a single symbol: write {name} without {symbol}")
    if name in _NEED_SYMBOL and symbol is None:
        raise ValueError(f"fault {name} needs a symbol: write it like {name}:BTCUSDT")
    if value == "off":
        return Fault(name, symbol, off=True)
    if value is None:
        if name in _SWITCHES or name in _AT_ONCE:
            return Fault(name, symbol)
        raise ValueError(f"fault {name} needs a value: write {name}={'0.01' if name in _RATES else '5s'}")
    if name in _RATES:
        rate, slash, late = value.partition("/")
        if slash and name != "late":
            raise ValueError(f"fault {item!r} takes a rate alone: write {name}=0.01")
        return Fault(name, symbol, _rate(item, rate), _seconds(item, late) if late else None)
    return Fault(name, symbol, seconds=_seconds(item, value))


def _rate(item: str, text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= 1:
        raise ValueError(f"fault {item!r} needs a chance from 0 to 1, like 0.01")
    return rate


def _seconds(item: str, text: str) -> float:
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"fault {item!r} needs a time like 500ms, 30s, 5m or 2h")
    return float(match[1]) * _SECONDS[match[2]]


class Faults:
    """Which faults are on. Every draw follows from the seed and from what is drawn for."""

    def __init__(self, seed: int) -> None:
        """Nothing is wrong yet; what will be is drawn from ``seed``."""
        self.seed = seed
        self._on: dict[tuple[str, str | None], Fault] = {}
        self._until: dict[tuple[str, str | None], float] = {}

    def __str__(self) -> str:
        return ",".join(map(_text, self))

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._on.values())

    def set(self, fault: Fault, now: float) -> None:
        """Turn a fault on or off at monotonic time ``now``."""
        key = (fault.name, fault.symbol)
        self._until.pop(key, None)
        if fault.off or fault.rate == 0:
            self._on.pop(key, None)
            return
        self._on[key] = fault
        if fault.name in _SWITCHES and fault.seconds is not None:
            self._until[key] = now + fault.seconds

    def rate(self, name: str) -> float:
        """Chance of a fault, 0 when it is off."""
        fault = self._on.get((name, None))
        return 0.0 if fault is None or fault.rate is None else fault.rate

    def seconds(self, name: str, default: float = 0.0) -> float:
        """Time of a fault, ``default`` when it is off or has none."""
        fault = self._on.get((name, None))
        return default if fault is None or fault.seconds is None else fault.seconds

    def is_on(self, name: str, now: float, symbol: str | None = None) -> bool:
        """Whether a switch is on at monotonic time ``now``, for all or for this symbol."""
        return any(
            key in self._on and now < self._until.get(key, float("inf")) for key in ((name, None), (name, symbol))
        )

    @property
    def touches_messages(self) -> bool:
        """Whether any message may fare otherwise than straight through."""
        return any(name in _MESSAGE_RATES or name == "stall" for name, _ in self._on)

    def hides(self, symbol: str, first_id: int, last_id: int) -> bool:
        """Whether REST lacks any trade id from the first to the last."""
        rate = self.rate("unfillable")
        return rate > 0 and any(
            chance(self.seed, "unfillable", symbol, run) < rate
            for run in range(first_id // _RUN, last_id // _RUN + 1)
        )


def chance(seed: int, *key: object) -> float:
    """A number from 0 to 1 that follows from the seed and the key alone."""
    text = "/".join(map(str, (seed, *key)))
    return int.from_bytes(blake2b(text.encode(), digest_size=6).digest()) / 2**48


@attrs.frozen(slots=True)
class Outgoing:
    """A message as it goes out; ``half`` ends the connection inside its frame."""

    text: str
    half: bool = False


class Disturbance:
    """What becomes of the messages of one connection. Draws in their order, so it can be repeated."""

    def __init__(self, faults: Faults, connection: int) -> None:
        """The disturbance of the connection of that number."""
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
                self._draw(text, now, out)
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
        out.append(Outgoing(text[: len(text) * 2 // 3] if happens["malformed"] else text))
        if happens["double"]:
            out.append(Outgoing(text))
        if self._swapped is not None:
            out.append(Outgoing(self._swapped))
            self._swapped = None

    def _happens(self, name: str) -> bool:
        rate = self._faults.rate(name)
        return rate > 0 and self._random.random() < rate


def _text(fault: Fault) -> str:
    name = fault.name if fault.symbol is None else f"{fault.name}:{fault.symbol}"
    time = None if fault.seconds is None else f"{fault.seconds:g}s"
    if fault.rate is not None:
        return f"{name}={fault.rate:g}" + (f"/{time}" if time else "")
    return name if time is None else f"{name}={time}"
