"""Figures of the upload to the object store, for metrics and status."""

import attrs


@attrs.frozen(slots=True, kw_only=True)
class UploadStatistics:
    """The upload at one moment."""

    url: str = ""
    """The history in the object store."""
    behind_seconds: float = 0.0
    """How long the oldest file that the store lacks has waited; 0: the store has all."""
    files_waiting: int = 0
    files_put: int = 0
    bytes_put: int = 0
    objects_deleted: int = 0
    errors: int = 0
    """Requests that failed; they are tried again."""
    problem: str | None = None
    """Why nothing can be put now, in a sentence; None if it works."""
    fenced: bool = False
    """Another process has taken over: this one puts nothing any more."""
