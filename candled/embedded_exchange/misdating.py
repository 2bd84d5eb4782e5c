"""Lies about time: event times, trade times and the server's time are stated otherwise. Plain: text in, text out.

Which trades are misdated follows from the seed and the trade's id, so that a stream and REST that misdate equally
often misdate the same trades.
"""

import re
from typing import Final

from candled.embedded_exchange.faults import Faults, chance
from candled.embedded_exchange.lies.fields import is_trade
from candled.embedded_exchange.units import read_time, time_text
from candled.embedded_exchange.wire import MICROSECOND, MILLISECOND

_EVENT_TIME: Final = re.compile(r'"E":(\d+)')
_TRADE_TIME: Final = re.compile(r'"(?:T|time)":(?:(\d+)|"([^"]+)")')
_ID: Final = re.compile(r'"(?:t|f|id|trade_id)":(-?\d+)')
_MICROSECONDS_FROM: Final = 10**14
"""Times below are in milliseconds."""


class Misdating:
    """What becomes of times while faults of this kind are on."""

    def __init__(self, faults: Faults) -> None:
        """Misdate as ``faults`` ask for."""
        self._faults = faults
        self._frozen: int | None = None

    def message(self, symbol: str, text: str) -> str:
        """A message of a stream as it is sent."""
        if not is_trade(text):
            return text
        text = self._shifted("event_time", symbol, text, _EVENT_TIME)
        return self._shifted("trade_time", symbol, text, _TRADE_TIME)

    def row(self, symbol: str, text: str) -> str:
        """A trade of REST as it is answered."""
        return self._shifted("rest_trade_time", symbol, text, _TRADE_TIME)

    def server_time(self, true: int, now: float) -> int:
        """The server's time, microseconds since the epoch, as it is answered.

        Args:
            true: The exchange's time, microseconds since the epoch.
            now: Monotonic time, seconds.
        """
        if self._faults.is_on("server_time_frozen", now):
            self._frozen = true if self._frozen is None else self._frozen
            return self._frozen
        self._frozen = None
        fault = self._faults.of("server_time", None)
        if fault is None or fault.seconds is None:
            return true
        return true + int(fault.seconds * 1_000_000)

    def _shifted(self, name: str, symbol: str, text: str, pattern: re.Pattern[str]) -> str:
        fault = self._faults.of(name, symbol)
        if fault is None or fault.seconds is None:
            return text
        number = _ID.search(text)
        rate = 1.0 if fault.rate is None else fault.rate
        if number is None or chance(self._faults.seed, "misdate", symbol, number[1]) >= rate:
            return text
        offset = fault.seconds

        def shift(match: re.Match[str]) -> str:
            if match[1] is None:
                return f'"time":"{time_text(read_time(match[2]) + int(offset * 1_000_000))}"'
            stated = int(match[1])
            unit = MILLISECOND if stated < _MICROSECONDS_FROM else MICROSECOND
            key = match[0].partition(":")[0]
            return f"{key}:{stated + int(offset * 1_000_000) // unit}"

        return pattern.sub(shift, text, count=1)
