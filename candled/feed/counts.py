"""What the feed counts, for the metrics."""

import attrs


@attrs.define(slots=True)
class FeedCounts:
    """Totals since the start."""

    frames: int = 0
    bytes: int = 0
    """Of the frames' texts."""
    dropped_batches: int = 0
    """Batches that found the engine's channel full; the repair fetches their trades again."""
    connects: int = 0
    connect_failures: int = 0
    disconnects: int = 0
    roll_overs: int = 0
    stalls: int = 0
    """Streams replaced because a symbol was silent while the exchange had trades of it."""
