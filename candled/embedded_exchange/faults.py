"""Faults on request: how they are called, and which are on. Plain: no clock, no I/O.

A comma-separated list of ``name``, ``name=value``, ``name:SYMBOL`` or ``name:SYMBOL=value``. A rate is a chance
per message or request (0 to 1), a time is written like 500ms, 30s, 5m or 2h. ``off`` as a value ends a fault.
``kinds`` has the table of them.
"""

import re
from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

import attrs

from candled.embedded_exchange.kinds import ADVERSARY, KINDS, LIES, Kind, Place, Takes, describe_kinds

_ITEM: Final = re.compile(r"(?P<name>[a-z0-9_]+)(?::(?P<symbol>[^=,:\s]+))?(?:=(?P<value>\S+))?")
_TIME: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_RUN: Final = 50
"""Trade ids that are unfillable together."""

_CONNECTION_FAULTS: Final = frozenset({"cut", "shutdown", "nopong", "refuse", "refuse_451"})
"""Faults of the streams that leave their messages alone."""
_TOUCHING: Final = frozenset(
    kind.name for kind in KINDS.values() if kind.place in {Place.STREAM, Place.STREAM_LIE}
) - _CONNECTION_FAULTS | {ADVERSARY}

HELP: Final = f"""A comma-separated list of `name`, `name=value`, `name:SYMBOL` or `name:SYMBOL=value`. A rate is a
chance per message or request (0 to 1), a time is written like 500ms, 30s, 5m or 2h. `off` as a value ends a fault.

{describe_kinds()}"""
"""How faults are written, and all of them, for people."""


@attrs.frozen(slots=True)
class Fault:
    """One item of the list, read."""

    name: str
    symbol: str | None = None
    rate: float | None = None
    seconds: float | None = None
    value: str | None = None
    """What the exchange states, of faults that state something else."""
    off: bool = False

    @property
    def at_once(self) -> bool:
        """Whether it is one blow, now, to what is connected."""
        return KINDS[self.name].at_once and self.rate is None and self.seconds is None and not self.off


def parse_faults(text: str) -> list[Fault]:
    """Read a list of faults; see the module.

    Raises:
        ValueError: something in it is not a fault; the text says what and how to write it.
    """
    return [_parse(item.strip()) for item in text.split(",") if item.strip()]


def _parse(item: str) -> Fault:
    match = _ITEM.fullmatch(item)
    kind = KINDS.get(match["name"]) if match else None
    if match is None or kind is None:
        raise ValueError(f"unknown fault {item!r}: choose from {' '.join(sorted(KINDS))}")
    name, symbol, value = match["name"], match["symbol"], match["value"]
    if symbol is not None and not kind.for_symbols:
        raise ValueError(f"fault {name} is not for a single symbol: write {name} without {symbol}")
    if kind.needs_symbol and symbol is None:
        raise ValueError(f"fault {name} needs a symbol: write it like {name}:BTCUSDT")
    if value == "off":
        return Fault(name, symbol, off=True)
    if value is None:
        if kind.takes is Takes.SWITCH or kind.at_once:
            return Fault(name, symbol)
        example = "0.01" if kind.is_rate else "5s" if kind.takes is Takes.TIME else "12345"
        raise ValueError(f"fault {name} needs a value: write {name}={example}")
    return _with_value(kind, symbol, value, item)


def _with_value(kind: Kind, symbol: str | None, value: str, item: str) -> Fault:
    if kind.takes is Takes.VALUE:
        return Fault(kind.name, symbol, value=value)
    before, slash, after = value.partition("/")
    if kind.takes is Takes.VALUE_AND_RATE:
        return Fault(kind.name, symbol, _rate(item, after) if slash else 1.0, value=before)
    if kind.takes in {Takes.OFFSET, Takes.OFFSET_AND_RATE}:
        return _with_offset(kind, symbol, value, item)
    if not kind.is_rate:
        return Fault(kind.name, symbol, seconds=_seconds(item, value))
    if slash and kind.takes is not Takes.RATE_AND_TIME:
        raise ValueError(f"fault {item!r} takes a rate alone: write {kind.name}=0.01")
    return Fault(kind.name, symbol, _rate(item, before), _seconds(item, after) if after else None)


def _with_offset(kind: Kind, symbol: str | None, value: str, item: str) -> Fault:
    offset, slash, rate = value.partition("/")
    if slash and kind.takes is Takes.OFFSET:
        raise ValueError(f"fault {item!r} takes a time alone: write {kind.name}=16s")
    seconds = _seconds(item, offset.removeprefix("-"))
    seconds = -seconds if offset.startswith("-") else seconds
    return Fault(kind.name, symbol, _rate(item, rate) if slash else None, seconds)


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
        if fault.off or (fault.rate == 0 and fault.name not in LIES):
            self._on.pop(key, None)
            return
        self._on[key] = fault
        if KINDS[fault.name].takes is Takes.SWITCH and fault.seconds is not None:
            self._until[key] = now + fault.seconds

    def of(self, name: str, symbol: str | None) -> Fault | None:
        """A fault that is on for this symbol or, if there is none, for all."""
        return self._on.get((name, symbol)) or self._on.get((name, None))

    def rate(self, name: str) -> float:
        """Chance of a fault, 0 when it is off; a lie that is not on by itself has that of the adversary."""
        fault = self._on.get((name, None))
        if fault is None and name in LIES:
            fault = self._on.get((ADVERSARY, None))
        return 0.0 if fault is None or fault.rate is None else fault.rate

    def value(self, name: str) -> str | None:
        """What a fault states, None when it is off."""
        fault = self._on.get((name, None))
        return None if fault is None else fault.value

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
        return any(name in _TOUCHING for name, _ in self._on)

    @property
    def misdates_messages(self) -> bool:
        """Whether any message may state another time than the true one."""
        return any(name in ("event_time", "trade_time") for name, _ in self._on)

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


def _text(fault: Fault) -> str:
    name = fault.name if fault.symbol is None else f"{fault.name}:{fault.symbol}"
    time = None if fault.seconds is None else f"{fault.seconds:g}s"
    if fault.value is not None:
        return f"{name}={fault.value}" + (f"/{fault.rate:g}" if fault.rate not in (None, 1.0) else "")
    if KINDS[fault.name].takes in {Takes.OFFSET, Takes.OFFSET_AND_RATE}:
        return f"{name}={time}" + ("" if fault.rate is None else f"/{fault.rate:g}")
    if fault.rate is not None:
        return f"{name}={fault.rate:g}" + (f"/{time}" if time else "")
    return name if time is None else f"{name}={time}"
