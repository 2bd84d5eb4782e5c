"""Counts what was refused of what an exchange sent. Plain: time is an argument."""

from collections import Counter
from typing import Final

from candled.domain.refusal import Refusal

LOG_SECONDS: Final = 10.0
"""Between log lines of one reason."""


class RefusalBook:
    """Refusals by reason. The first of each reason is logged, later ones now and then with their number."""

    def __init__(self) -> None:
        self.counts: Counter[Refusal] = Counter()
        self._logged: dict[Refusal, float] = {}
        self._unlogged: Counter[Refusal] = Counter()

    @property
    def total(self) -> int:
        """How many there were, of all reasons."""
        return self.counts.total()

    def note(self, reason: Refusal, now: float) -> int:
        """Count one.

        Args:
            reason: Why it was refused.
            now: Local monotonic clock, seconds.

        Returns:
            How many of this reason a log line written now stands for; 0 if none is due.
        """
        self.counts[reason] += 1
        self._unlogged[reason] += 1
        if now - self._logged.get(reason, float("-inf")) < LOG_SECONDS:
            return 0
        self._logged[reason] = now
        return self._unlogged.pop(reason)
