"""Whether the server in use still answers, for clients that know several. Plain: no clock, no I/O.

A stopped process keeps its connections, so only silence shows it, and a quiet market is silent too. Therefore:

1. After ``Pulse.seconds`` without data, while a call is open, the client asks for a sign of life (HTTP/2 PING).
2. Without an answer within ``Patience.seconds`` it connects to the other addresses, too.
3. The first to answer is used: an overloaded server is not left for one that is no better.

A stream with little data is asked less often after each answer. After a move the client waits longer for a while.
"""

from typing import Final

QUIET_SECONDS: Final = 0.3
"""Without data, at least, before the server is asked."""
QUIET_SECONDS_MAX: Final = 15.0
"""As often as the daemon sends heartbeats."""
ANSWER_SECONDS: Final = 0.25
"""For a sign of life; then another address is tried."""
PATIENCE_MAX: Final = 16
"""By which that is multiplied at most."""
SETTLED_SECONDS: Final = 60.0
"""Since the last move, after which one waits as usual again."""
_CALMER: Final = 2.0
_LIVELIER: Final = 0.9


class Pulse:
    """How long one connection may be without data before the server is asked."""

    def __init__(self) -> None:
        self.seconds = QUIET_SECONDS

    def flowed(self) -> None:
        """Note that data came in time."""
        self.seconds = max(QUIET_SECONDS, self.seconds * _LIVELIER)

    def answered(self) -> None:
        """Note that the server answered and has no data: the stream is a quiet one."""
        self.seconds = min(QUIET_SECONDS_MAX, self.seconds * _CALMER)


class Patience:
    """How long a server may take to answer: longer after each move, since all may be slow."""

    def __init__(self) -> None:
        self._factor = 1
        self._moved_at = 0.0

    def seconds(self, now: float) -> float:
        """Return for how long to wait for a sign of life; ``now``: monotonic seconds."""
        if now - self._moved_at > SETTLED_SECONDS:
            self._factor = 1
        return ANSWER_SECONDS * self._factor

    def moved(self, now: float) -> None:
        """Note that a server was left for its silence; ``now``: monotonic seconds."""
        self.seconds(now)
        self._factor = min(PATIENCE_MAX, self._factor * 2)
        self._moved_at = now
