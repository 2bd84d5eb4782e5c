"""How long a symbol may be silent before its silence is checked. Plain: time comes in as an argument."""

from typing import Final

import attrs

from candled.domain.bar import NO_TRADE

PATIENCE_MIN: Final = 5.0
PATIENCE_MAX: Final = 120.0
PATIENCE_PAUSES: Final = 20.0
"""A symbol may be silent for this many times its usual pause, within the bounds above."""
QUIET_MAX: Final = 300.0
"""A market found quiet is checked at doubling times, up to this one."""


@attrs.define(slots=True)
class Pace:
    """When one symbol's trades come. All times are seconds of the local monotonic clock."""

    last_id: int = NO_TRADE
    """Highest trade id that came or is known to exist."""
    _last_arrival: float | None = None
    _usual_pause: float = 1.0
    _checked: float | None = None
    _found_quiet: int = 0
    """Checks since the last arrival that found nothing newer."""

    def saw(self, last_id: int, now: float) -> None:
        """A new trade came."""
        if self._last_arrival is not None:
            pause = now - self._last_arrival
            self._usual_pause += (pause - self._usual_pause) / (20 if pause < self._usual_pause * 5 else 5)
        self._last_arrival = self._checked = now
        self._found_quiet = 0
        self.last_id = max(self.last_id, last_id)

    def is_suspect(self, now: float) -> bool:
        """Whether it has been silent for too long, counting from the last check."""
        if self._checked is None:
            return True  # nothing came yet: what the exchange has already may be missing
        patience = PATIENCE_MIN
        if self._last_arrival is not None:
            patience = min(PATIENCE_MAX, max(PATIENCE_MIN, self._usual_pause * PATIENCE_PAUSES))
        return now - self._checked > min(max(QUIET_MAX, patience), patience * (1 << self._found_quiet))

    def check(self, now: float) -> None:
        """It is being checked: not again for a while."""
        self._checked = now

    def found_quiet(self) -> None:
        """The exchange has no newer trade either."""
        self._found_quiet = min(self._found_quiet + 1, 10)
