"""How the history keeps bars: what the user sets, and what is not worth a place on the command line."""

import attrs

from candled.domain.interval import DAY, MICROSECONDS
from candled.settings import DaemonSettings


@attrs.frozen(kw_only=True)
class HistorySettings:
    """How bars are kept."""

    publish_delay: float = 5.0
    """Seconds from a stored bar to its publication in a recent file; bars of that time share one file."""
    grace: float = 900.0
    """Seconds that a superseded file stays for readers that have listed it."""
    seal_delay: float = 3600.0
    """Seconds of bar time after midnight at which a day is sealed."""
    refold_delay: float = 3600.0
    """Seconds that corrections of sealed days gather before their files are made again."""
    compact_files: int = 10
    """A symbol's sealed files within one month are joined at so many; in any case when the month is over."""
    retention_days: int | None = None
    """Days that bars are kept; None: for good."""
    unpublished_rows_max: int = 200_000
    """Bars that may wait in memory for publication: beyond it no further bar is taken."""
    retry_delay_max: float = 5.0
    """Seconds between attempts to write to a disk that refuses."""

    @classmethod
    def of(cls, settings: DaemonSettings) -> "HistorySettings":
        """As the user has set them."""
        return cls(
            publish_delay=settings.publish_delay,
            grace=settings.superseded_grace,
            seal_delay=settings.seal_delay,
            compact_files=settings.compact_files,
            retention_days=settings.retention_days or None,
        )

    @property
    def seal_delay_microseconds(self) -> int:
        """``seal_delay`` in the unit of bar times."""
        return int(self.seal_delay * MICROSECONDS)

    @property
    def retention_microseconds(self) -> int | None:
        """``retention_days`` in the unit of bar times."""
        return None if self.retention_days is None else self.retention_days * DAY
