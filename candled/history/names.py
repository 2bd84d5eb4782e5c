"""What the names of the files say, and which of them count. Plain: no I/O, no clock.

Names alone say what counts, so that a reader needs one listing and no catalogue:

* A **segment** ``2026-05-01_2026-06-01_<sequence>.parquet`` in a symbol's folder holds that symbol's bars of whole
  UTC days, one row a bar. One that covers another's days with a higher sequence supersedes it.
* A **recent** file ``<first>_<last>_<version>.parquet`` holds what publications ``first..last`` brought, of all
  symbols, and is not in segments yet. One that covers another's publications supersedes it; its rows override
  those of segments.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

import attrs

from candled.domain.interval import MICROSECONDS

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SEGMENT = re.compile(r"(\d{4}-\d\d-\d\d)_(\d{4}-\d\d-\d\d)_(\d{1,18})\.parquet", re.ASCII)
_RECENT = re.compile(r"(\d{1,18})_(\d{1,18})_(\d{1,9})\.parquet", re.ASCII)


@attrs.frozen(slots=True, order=True)
class Segment:
    """A sealed file of one symbol: its bars of the days ``start <= time < end``, microseconds."""

    symbol: str
    start: int
    end: int
    sequence: int

    @property
    def name(self) -> str:
        """Its file name."""
        return f"{_date(self.start)}_{_date(self.end)}_{self.sequence:015d}.parquet"

    def covers(self, other: "Segment") -> bool:
        """Whether it supersedes ``other``."""
        return (
            self.symbol == other.symbol
            and self.start <= other.start
            and other.end <= self.end
            and self.sequence > other.sequence
        )


@attrs.frozen(slots=True, order=True)
class Recent:
    """A file of the publications ``first..last``."""

    first: int
    last: int
    version: int = 0
    """Higher where a file was made again for the same publications."""
    rows: int = attrs.field(default=0, eq=False, order=False)
    oldest: int | None = attrs.field(default=None, eq=False, order=False)
    """Lowest open time in it, microseconds."""

    @property
    def name(self) -> str:
        """Its file name."""
        return f"{self.first:015d}_{self.last:015d}_{self.version}.parquet"

    def covers(self, other: "Recent") -> bool:
        """Whether it supersedes ``other``."""
        if (self.first, self.last) == (other.first, other.last):
            return self.version > other.version
        return self.first <= other.first and other.last <= self.last


@lru_cache(maxsize=100_000)
def parse_segment(symbol: str, name: str) -> Segment | None:
    """The segment of that file name; None for any other file."""
    match = _SEGMENT.fullmatch(name)
    if match is None:
        return None
    try:
        start, end = _time(match[1]), _time(match[2])
    except ValueError:
        return None
    return Segment(symbol, start, end, int(match[3])) if start < end else None


def parse_recent(name: str) -> Recent | None:
    """The recent file of that name; None for any other file."""
    match = _RECENT.fullmatch(name)
    return Recent(int(match[1]), int(match[2]), int(match[3])) if match else None


def live_segments(segments: Iterable[Segment]) -> list[Segment]:
    """Those that count, by symbol and time: every one that no other supersedes."""
    live: list[Segment] = []
    for segment in sorted(segments, key=lambda item: (item.symbol, item.start, -item.end, -item.sequence)):
        # Live ones are disjoint, so that only the last one can cover this one, or be covered by it.
        while live and segment.covers(live[-1]):
            live.pop()
        if not (live and live[-1].covers(segment)):
            live.append(segment)
    return live


def live_recents(recents: Iterable[Recent]) -> list[Recent]:
    """Those that count, oldest first: every one that no other supersedes."""
    live: list[Recent] = []
    for recent in sorted(recents, key=lambda item: (item.first, -item.last, -item.version)):
        if not (live and live[-1].covers(recent)):
            live.append(recent)
    return live


def _date(time: int) -> str:
    return (_EPOCH + timedelta(microseconds=time)).date().isoformat()


def _time(date: str) -> int:
    return int(datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp()) * MICROSECONDS
