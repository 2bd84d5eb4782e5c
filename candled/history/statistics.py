"""Figures of the history on disk, for the metrics."""

import attrs

from candled.telemetry.histogram import Histogram


@attrs.frozen(slots=True, kw_only=True)
class HistoryStatistics:
    """The history at one moment."""

    rows_stored: int = 0
    """Bars and revisions stored since the opening."""
    commits: Histogram = attrs.Factory(Histogram)
    """Seconds of each commit to the journal."""
    rows_unpublished: int = 0
    """Stored in the journal and not in a recent file yet."""
    journal_rows: int = 0
    journal_bytes: int = 0
    recent_files: int = 0
    sealed_files: int = 0
    superseded_files: int = 0
    recent_bytes: int = 0
    """Sizes as of the last maintenance step."""
    sealed_bytes: int = 0
    superseded_bytes: int = 0
    publications: int = 0
    write_errors: int = 0
    last_error: str | None = None
    """Reason of the last failed write; kept after recovery."""
