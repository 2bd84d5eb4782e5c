"""Limits on everything a client can ask for."""

import attrs


@attrs.frozen(kw_only=True)
class Limits:
    """Each names what is refused beyond it."""

    streams_per_connection_max: int = 1_000
    connections_max: int = 10_000
    symbols_per_request_max: int = 5_000
    request_bytes_max: int = 1 << 20
    request_seconds: float = 10.0
    """How long a request may take to arrive, and a connection to say that it speaks HTTP/2."""
    page_size_default: int = 1_000
    page_size_max: int = 10_000
    stall_seconds: float = 30.0
    """A connection that has taken nothing for so long, while something waits for it, is cut."""
    drain_seconds: float = 5.0
    """How long a stop waits for streams to end in order."""
