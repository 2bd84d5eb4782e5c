"""The exchange's clock: the only module of this package that reads time from outside."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

MICROSECONDS: Final = 1_000_000


class ExchangeClock:
    """Exchange time, driven by a monotonic clock that is passed in, so that tests can use a mock clock."""

    def __init__(
        self,
        origin: int,
        monotonic: Callable[[], float],
        *,
        speed: float = 1.0,
        running: bool = True,
        fast_until: int | None = None,
    ) -> None:
        """Make a clock that shows ``origin`` (microseconds since the epoch) now and runs at ``speed``.

        Args:
            origin: Exchange time at this moment.
            monotonic: Seconds of any clock that never runs backwards.
            speed: Exchange seconds per second of ``monotonic``.
            running: False: stopped until ``start``.
            fast_until: Exchange time from which it runs at real speed, as after the end of a replay.
        """
        self._origin = origin
        self._monotonic = monotonic
        self._speed = speed
        self._started = monotonic() if running else None
        self._fast_until = fast_until

    @property
    def running(self) -> bool:
        """Whether time passes."""
        return self._started is not None

    def start(self) -> None:
        """Start the clock; no effect if it runs already."""
        if self._started is None:
            self._started = self._monotonic()

    @property
    def speed(self) -> float:
        """Exchange seconds per second of its monotonic clock."""
        return self._speed

    def now(self) -> int:
        """Return exchange time, microseconds since the epoch."""
        if self._started is None:
            return self._origin
        elapsed = (self._monotonic() - self._started) * MICROSECONDS
        now = self._origin + int(elapsed * self._speed)
        if self._fast_until is not None and now > self._fast_until:
            return self._fast_until + int(elapsed - (self._fast_until - self._origin) / self._speed)
        return now

    def monotonic(self) -> float:
        """Return real seconds, for what the original measures in real time: pings, limits, lifetimes."""
        return self._monotonic()

    def seconds_until(self, moment: int) -> float:
        """Return the real seconds until exchange time reaches ``moment``; infinite while the clock is stopped."""
        if self._started is None:
            return float("inf")
        now = self.now()
        slow = self._fast_until is not None and now >= self._fast_until
        return max(0.0, (moment - now) / MICROSECONDS / (1.0 if slow else self._speed))


def wall_time() -> int:
    """Return the machine's wall clock, microseconds since the epoch."""
    return time.time_ns() // 1000


def parse_epoch(text: str) -> int:
    """Read an instant such as ``2026-01-31T12:00:00Z`` as microseconds since the epoch; without a zone it is UTC.

    Raises:
        ValueError: not an ISO 8601 instant.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"epoch {text!r} is not an instant: write it like 2026-01-31T12:00:00Z") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * MICROSECONDS)


def exchange_time_of(wall: int, *, epoch: int, speed: float) -> int:
    """Return the exchange time at a wall instant, given that both were equal at ``epoch``.

    With the same epoch, a restarted exchange continues at the time that it would have reached.
    """
    return epoch + int((wall - epoch) * speed)
