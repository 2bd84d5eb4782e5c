"""Latency of each stage of a trade's way: arrival, publication, storage. Plain: no clock."""

from candled.telemetry.histogram import Histogram


class LatencyHistograms:
    """Latency histograms, observed once for each batch of trades or of closed bars."""

    def __init__(self) -> None:
        self.received = Histogram()
        """Seconds from the exchange time of a batch's newest event, as estimated, to its arrival."""
        self.published = Histogram()
        """Seconds from the arrival of a batch to the publication of its bars."""
        self.stored = Histogram()
        """Seconds from the publication of closed bars to their being durable."""
