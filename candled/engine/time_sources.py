"""The sources of exchange time: each symbol's event times, and the exchange's own clock. Plain values."""

from enum import StrEnum
from typing import Final

import attrs

from candled.domain.interval import MICROSECONDS

SERVER: Final = "server clock"
"""Name of the source that is the exchange's own clock, read over REST."""
BASELINE_SECONDS: Final = 0.25
"""Minimum local seconds between two readings that a rate is taken from."""
EVEN_READINGS: Final = 5
"""Readings in a row that must continue each other before a source counts as even."""


class Disagreement(StrEnum):
    """Why a source is in quarantine; the words appear in logs, in the status and as a label of metrics."""

    AHEAD = "ahead of the agreed time"
    BEHIND = "behind the agreed time"
    IMPOSSIBLE = "no possible time"


@attrs.frozen(slots=True)
class Quarantine:
    """A source that disagrees."""

    source: str
    """A symbol, or ``SERVER``."""
    reason: Disagreement
    offset: int
    """Its newest reading less the agreed time, microseconds."""
    since: float
    """Local monotonic clock, seconds."""


@attrs.define(slots=True)
class Source:
    """What one source said last, and how it stands with the others."""

    name: str
    time: int = 0
    """Its newest reading: the exchange's clock had passed it at ``local``."""
    local: float = float("-inf")
    width: float = 0.0
    """Local seconds that the reading took: the exchange's clock was ahead by that at most."""
    reason: Disagreement | None = None
    offset: int = 0
    since: float = 0.0
    agreed: int = 0
    """Readings in a row that agreed."""
    even_since: float = float("-inf")
    even: int = 0
    """Readings in a row that continue each other."""
    origin: tuple[int, float] | None = None
    """First reading since the line was moved, for its own rate."""

    @property
    def is_trusted(self) -> bool:
        """Whether it is not in quarantine."""
        return self.reason is None

    def is_even(self, local: float, seconds: float) -> bool:
        """Return whether its readings have been consistent for at least ``seconds`` local seconds."""
        return self.even >= EVEN_READINGS and local - self.even_since >= seconds

    def own_rate(self) -> float | None:
        """How fast its times advance, in seconds for a local one; None if that is not known."""
        if self.origin is None or self.local - self.origin[1] < BASELINE_SECONDS:
            return None
        return (self.time - self.origin[0]) / MICROSECONDS / (self.local - self.origin[1])
