"""File names, and which files are live. Plain: no I/O, no clock.

Names alone decide which files are live, so a reader needs one listing and no catalogue:

* A **segment** ``2026-05-01_2026-06-01_<sequence>_<checksum>.parquet`` in a symbol's folder holds that symbol's
  bars of whole UTC days, one row a bar. One that covers another's days with a higher sequence supersedes it.
* A **recent** file ``<first>_<last>_<version>_<checksum>.parquet`` holds the rows of the publications
  ``first..last``, of all symbols, that are not in segments yet. One that covers another's publications supersedes
  it; its rows override those of segments.

The checksum is the CRC-32 of the file's content, in hexadecimal digits.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

import attrs

from candled.domain.interval import MICROSECONDS

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SEGMENT = re.compile(r"(\d{4}-\d\d-\d\d)_(\d{4}-\d\d-\d\d)_(\d{1,18})(?:_([0-9a-f]{8}))?\.parquet", re.ASCII)
_RECENT = re.compile(r"(\d{1,18})_(\d{1,18})_(\d{1,9})(?:_([0-9a-f]{8}))?\.parquet", re.ASCII)


@attrs.frozen(slots=True, order=True)
class Segment:
    """A sealed file of one symbol: its bars of the days ``start <= time < end``, microseconds."""

    symbol: str
    start: int
    end: int
    sequence: int
    checksum: int | None = attrs.field(default=None, eq=False, order=False)
    """CRC-32 of its content; None until it is written, and in a name without one."""

    @property
    def name(self) -> str:
        """Its file name."""
        return f"{_date(self.start)}_{_date(self.end)}_{self.sequence:015d}{_ending(self.checksum)}"

    def covers(self, other: "Segment") -> bool:
        """Return whether it supersedes ``other``."""
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
    """Higher if a file was rewritten for the same publications."""
    rows: int = attrs.field(default=0, eq=False, order=False)
    oldest: int | None = attrs.field(default=None, eq=False, order=False)
    """Lowest open time in it, microseconds."""
    checksum: int | None = attrs.field(default=None, eq=False, order=False)
    """CRC-32 of its content; None until it is written, and in a name without one."""

    @property
    def name(self) -> str:
        """Its file name."""
        return f"{self.first:015d}_{self.last:015d}_{self.version}{_ending(self.checksum)}"

    def covers(self, other: "Recent") -> bool:
        """Return whether it supersedes ``other``."""
        if (self.first, self.last) == (other.first, other.last):
            return self.version > other.version
        return self.first <= other.first and other.last <= self.last


@lru_cache(maxsize=100_000)
def parse_segment(symbol: str, name: str) -> Segment | None:
    """Parse the file name of a segment; None for any other file."""
    match = _SEGMENT.fullmatch(name)
    if match is None:
        return None
    try:
        start, end = _time(match[1]), _time(match[2])
    except ValueError:
        return None
    return Segment(symbol, start, end, int(match[3]), _checksum(match[4])) if start < end else None


def parse_recent(name: str) -> Recent | None:
    """Parse the file name of a recent file; None for any other file."""
    match = _RECENT.fullmatch(name)
    if match is None:
        return None
    return Recent(int(match[1]), int(match[2]), int(match[3]), checksum=_checksum(match[4]))


def checksum_in(name: str) -> int | None:
    """Return the checksum in the name of a segment or a recent file; None if it has none."""
    match = _SEGMENT.fullmatch(name) or _RECENT.fullmatch(name)
    return None if match is None else _checksum(match[4])


def live_segments(segments: Iterable[Segment]) -> list[Segment]:
    """Return the segments that no other one supersedes, by symbol and time."""
    live: list[Segment] = []
    for segment in sorted(segments, key=lambda item: (item.symbol, item.start, -item.end, -item.sequence)):
        # Live ones are disjoint, so that only the last one can cover this one, or be covered by it.
        while live and segment.covers(live[-1]):
            live.pop()
        if not (live and (live[-1].covers(segment) or live[-1] == segment)):
            live.append(segment)
    return live


def live_recents(recents: Iterable[Recent]) -> list[Recent]:
    """Return the recent files that no other one supersedes, oldest first."""
    live: list[Recent] = []
    for recent in sorted(recents, key=lambda item: (item.first, -item.last, -item.version)):
        if not (live and (live[-1].covers(recent) or live[-1] == recent)):
            live.append(recent)
    return live


def _ending(checksum: int | None) -> str:
    return ".parquet" if checksum is None else f"_{checksum:08x}.parquet"


def _checksum(digits: str | None) -> int | None:
    return None if digits is None else int(digits, 16)


def _date(time: int) -> str:
    return (_EPOCH + timedelta(microseconds=time)).date().isoformat()


def _time(date: str) -> int:
    return int(datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp()) * MICROSECONDS
