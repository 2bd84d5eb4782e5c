"""Which log a reader reads: whether it is still the one it began with. Plain.

A log that was deleted and made again counts its sequences from 1 again, so a position of the old one means nothing
in the new one. Each has an identity, made when it is created; resume tokens name it.
"""

from enum import Enum

import attrs


@attrs.frozen(slots=True)
class LogState:
    """A log at one moment."""

    identity: str
    """16 hexadecimal digits."""
    exchange: str
    """Identity of the exchange whose bars it holds."""
    first: int
    """Sequence of its oldest entry; one above ``last`` if it has none."""
    last: int
    """Sequence of its newest entry, also if that was removed by its age; 0: it never had one."""

    def before_newest(self, entries_max: int) -> int:
        """Return the position after which a reader gets the newest entries, at most this many."""
        return max(self.first - 1, self.last - entries_max, 0)


class Continuation(Enum):
    """Whether a reader can continue."""

    SAME = "the same log"
    REPLACED = "the log was replaced"
    CUT = "entries were removed before they were read"


def judge(identity: str, position: int, found: LogState) -> Continuation:
    """Return whether a reader that read a log up to ``position`` can continue in the one that it found.

    Args:
        identity: of the log that it read.
        position: sequence of the last entry it read; 0: none, so that it may begin anywhere.
        found: the log as it is now.
    """
    if found.identity != identity or found.last < position:
        return Continuation.REPLACED
    if position and found.first > position + 1:
        return Continuation.CUT
    return Continuation.SAME
