"""Decide what to put into the object store next, and what may be deleted. Plain: no I/O, no clock.

Rules that keep every listing whole, so that a reader or a restore at any moment finds each bar in the newest
revision that was ever there:

* Publications (recent files as first written) go first: they alone have the newest bars. Each goes alone, after
  all before it: what a lost volume takes is then always the newest bars, which a start fetches from the exchange,
  and never a hole before them.
* Sealed files go before merged recent files, since those may lack rows that sealed files have. After an outage
  merged files may be all there is of some publications: then those that are newer wait, too.
* Merged recent files go one after the other, oldest first: recent rows override sealed ones, so an older file with
  an old revision must have dropped it before the file with the newer revision does.
* An object is deleted only when others *in the store* have superseded it for the grace period, by the same
  names as in the data directory. What only the data directory supersedes stays.
"""

import heapq
import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

import attrs

from candled.history.segments.names import Recent, Segment, live_recents, live_segments

File = Segment | Recent

BATCH: Final = 16
"""Maximum number of files that are put between two looks at the data directory."""


@attrs.define(slots=True)
class UploadPlan:
    """What the store has, what it lacks, and since when. Times are of a monotonic clock, seconds."""

    grace: float
    """Seconds that a superseded object stays for readers that have listed it."""
    _segments: dict[str, set[Segment]] = attrs.field(factory=lambda: defaultdict(set), init=False)
    """Sealed files in the store, by symbol."""
    _recents: set[Recent] = attrs.field(factory=set, init=False)
    """Recent files in the store."""
    _superseded: dict[File, float] = attrs.field(factory=dict, init=False)
    """Superseded objects, with the time at which they may be deleted."""
    _pending: dict[File, float] = attrs.field(factory=dict, init=False)
    """Live files of the data directory that the store lacks, with the time since when."""

    @property
    def pending(self) -> int:
        """Number of files that wait."""
        return len(self._pending)

    def behind(self, now: float) -> float:
        """Return for how many seconds the oldest file has waited; 0 if none waits."""
        return now - min(self._pending.values(), default=now)

    def listed(self, now: float, objects: Iterable[File]) -> None:
        """Take a listing of the store, in place of what was known of it."""
        self._segments = defaultdict(set)
        self._recents = set()
        for file in objects:
            if isinstance(file, Segment):
                self._segments[file.symbol].add(file)
            else:
                self._recents.add(file)
        due = self._superseded
        self._superseded = {}
        dead: set[File] = {
            *self._dead_recents(),
            *(each for symbol in self._segments for each in self._dead(symbol)),
        }
        for file in dead:
            self._superseded[file] = due.get(file, now + self.grace)
        for file in [file for file in self._pending if self._has(file)]:
            del self._pending[file]

    def looked(self, now: float, live: Iterable[File]) -> None:
        """Take the live files of the data directory.

        A file that replaces waiting ones has waited as long as the oldest of those that are gone.
        """
        missing = {file for file in live if not self._has(file)}
        gone = [since for file, since in self._pending.items() if file not in missing]
        since = min(gone, default=now)
        self._pending = {file: self._pending.get(file, since) for file in missing}

    def next_puts(self) -> list[File]:
        """Return the files to put next, the oldest ones, in any order; none if the store has all."""
        known = max((file.last for file in self._recents), default=-1)
        """The newest publication in the store: it has all up to this one, in these or other files."""
        segments, news, others = list[File](), list[Recent](), list[Recent]()
        for file in self._pending:
            if isinstance(file, Segment):
                segments.append(file)
            elif file.last > known:
                news.append(file)
            else:
                others.append(file)
        oldest = min(news, key=_order, default=None)
        if oldest is not None and oldest.first == oldest.last and oldest.version == 0:
            return [oldest]
        return heapq.nsmallest(BATCH, segments, key=_order) or heapq.nsmallest(1, [*news, *others], key=_order)

    def put(self, now: float, file: File) -> None:
        """Note that an object is in the store."""
        self._pending.pop(file, None)
        if isinstance(file, Segment):
            self._segments[file.symbol].add(file)
            dead: set[File] = {*self._dead(file.symbol)}
        else:
            self._recents.add(file)
            dead = {*self._dead_recents()}
        for each in dead:
            self._superseded.setdefault(each, now + self.grace)

    def dropped(self, file: File) -> None:
        """Note that a file cannot be put: it is not in the data directory any more."""
        self._pending.pop(file, None)

    def deletions(self, now: float) -> list[File]:
        """Return objects that may be deleted now."""
        return sorted((file for file, due in self._superseded.items() if due <= now), key=_order)[:BATCH]

    def wake_time(self) -> float:
        """Return the time at which an object may be deleted; infinite if none is superseded."""
        return min(self._superseded.values(), default=math.inf)

    def deleted(self, files: Iterable[File]) -> None:
        """Note that objects are not in the store any more."""
        for file in files:
            self._superseded.pop(file, None)
            if isinstance(file, Segment):
                self._segments[file.symbol].discard(file)
            else:
                self._recents.discard(file)

    def _has(self, file: File) -> bool:
        if isinstance(file, Segment):
            return file in self._segments.get(file.symbol, ())
        return file in self._recents

    def _dead(self, symbol: str) -> set[Segment]:
        return self._segments[symbol].difference(live_segments(self._segments[symbol]))

    def _dead_recents(self) -> set[Recent]:
        return self._recents.difference(live_recents(self._recents))


@attrs.define(slots=True)
class OldObjects:
    """Superseded objects without bars, which are deleted after a grace period. Times are of a monotonic clock."""

    grace: float
    """Seconds that they stay for those who have listed them."""
    _keys: list[str] = attrs.field(factory=list, init=False)
    due_time: float = attrs.field(default=math.inf, init=False)
    """When they may be deleted; infinite if there are none."""

    def found(self, now: float, keys: list[str]) -> None:
        """Take the keys that a listing has, in place of those known before."""
        if keys != self._keys:
            self._keys = keys
            self.due_time = now + self.grace if keys else math.inf

    def due(self, now: float) -> list[str]:
        """Return the keys to delete now."""
        return self._keys if now >= self.due_time else []


def _order(file: File) -> tuple[int, str, int]:
    """Sort by age, so that the oldest waits no longer than newer ones."""
    return (
        (file.sequence, file.symbol, file.start) if isinstance(file, Segment) else (file.first, "", file.version)
    )
