"""Settings of the history: the user's, and constants that are not on the command line."""

import attrs

from candled.domain.interval import DAY, MICROSECONDS
from candled.domain.numbers import DECIMALS


@attrs.frozen(kw_only=True)
class HistorySettings:
    """Settings of the history on disk."""

    publish_delay: float = 5.0
    """Seconds from storing a bar to its publication in a recent file; bars stored within them share one file."""
    grace: float = 900.0
    """Seconds that a superseded file stays for readers that have listed it."""
    seal_delay: float = 3600.0
    """Seconds of bar time after midnight at which a day is sealed."""
    refold_delay: float = 3600.0
    """Seconds that corrections of sealed days are gathered before their files are rewritten."""
    compact_files: int = 10
    """Number of a symbol's sealed files in one month at which they are joined; always when the month is over."""
    retention_days: int | None = None
    """Days that bars are kept; None: no limit."""
    unpublished_rows_max: int = 200_000
    """Maximum number of bars in memory that wait for publication; beyond it ``store`` waits."""
    quote_decimals: int = DECIMALS
    """Decimals of quote volumes: those of the exchange, for files without rows."""
    retry_delay_max: float = 5.0
    """Maximum seconds between retries of a failed write."""

    @property
    def seal_delay_microseconds(self) -> int:
        """``seal_delay`` in the unit of bar times."""
        return int(self.seal_delay * MICROSECONDS)

    @property
    def retention_microseconds(self) -> int | None:
        """``retention_days`` in the unit of bar times."""
        return None if self.retention_days is None else self.retention_days * DAY
