"""How often a closed bar that is not complete may be revised.

State kept: by open time, until when no further revision is emitted; and when one that waits is looked at again.
Plain: no clock, no I/O; times are exchange time, microseconds since the epoch.
"""

from typing import Final

from candled.domain.bar import Bar
from candled.domain.interval import MICROSECONDS

REVISION_PAUSE: Final = 5 * MICROSECONDS
"""From the first revision of a bar to the next that does not complete it."""
REVISION_PAUSE_GROWTH: Final = 4
"""How much longer each further pause is, up to the third: however often a bar changes, its revisions are few."""


class RevisionPace:
    """Makes revisions of a bar wait that come too soon after the one before."""

    def __init__(self) -> None:
        self.review_at: int | None = None
        """When a bar that was revised lately is looked at again; None if none waits."""
        self._quiet_until: dict[int, int] = {}

    def is_too_soon(self, bar: Bar, exchange_time: int) -> bool:
        """Return whether a revision has to wait for a later one; else note that it is emitted."""
        quiet_until = self._quiet_until.get(bar.open_time, exchange_time)
        if exchange_time < quiet_until:
            self.review_at = quiet_until if self.review_at is None else min(self.review_at, quiet_until)
            return True
        pause = REVISION_PAUSE * REVISION_PAUSE_GROWTH ** min(bar.revision - 1, 3)
        self._quiet_until[bar.open_time] = exchange_time + pause
        return False

    def forget(self, open_time: int) -> None:
        """This bar left memory."""
        self._quiet_until.pop(open_time, None)
