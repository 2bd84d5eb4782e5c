"""Limits on clients' requests."""

import attrs

from candled.stream.admission import ConnectionLimits


@attrs.frozen(kw_only=True)
class Limits:
    """Requests beyond a limit are refused."""

    streams_per_connection_max: int = 1_000
    connections: ConnectionLimits = ConnectionLimits()
    symbols_per_request_max: int = 5_000
    request_bytes_max: int = 1 << 20
    request_seconds: float = 10.0
    """Seconds until a request must have arrived."""
    page_size_default: int = 1_000
    page_size_max: int = 10_000
    stall_seconds: float = 30.0
    """Seconds after which a connection that takes no data, while some waits, is cut."""
    ahead_seconds: float = 0.0
    """Seconds that a resume token ahead of what is known here may wait for it, where other processes serve the
    same bars; 0: nobody else does, so it is refused."""
    drain_seconds: float = 5.0
    """Seconds that a stop waits for streams to end."""
