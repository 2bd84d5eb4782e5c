"""Decide which files should exist, and the next step towards them. Plain: no I/O, no clock.

Superseded files (see ``names``) stay for a grace period, because a reader may have listed them and not opened them
yet. A row is folded from recent files into a segment first, and leaves the recent files one grace period later.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from candled.domain.interval import DAY, INTERVALS
from candled.history.segments.names import Recent, Segment, live_recents, live_segments

SEQUENCES_PER_EPOCH: Final = 10**9
FAN_IN: Final = 8
"""Number of recent files of similar size that are merged into one."""

_MONTH: Final = INTERVALS["1M"]


@attrs.frozen(slots=True)
class Fold:
    """Put every recent row older than ``boundary`` that no segment has yet into segments."""

    boundary: int
    recents: tuple[Recent, ...]
    """The recent files to fold; more may be published meanwhile."""


@attrs.frozen(slots=True)
class MergeRecents:
    """Make one recent file of several, newest revision of each bar only; drop rows older than ``drop_before``."""

    inputs: tuple[Recent, ...]
    output: Recent
    drop_before: int | None = None


@attrs.frozen(slots=True)
class Rewrite:
    """Make one segment of several adjacent ones."""

    inputs: tuple[Segment, ...]
    output: Segment


@attrs.frozen(slots=True)
class Expire:
    """Make an empty segment: it supersedes bars that are older than the retention."""

    output: Segment


@attrs.frozen(slots=True)
class Delete:
    """Remove superseded files that no reader can still open."""

    segments: tuple[Segment, ...] = ()
    recents: tuple[Recent, ...] = ()


Step = Fold | MergeRecents | Rewrite | Expire | Delete


@attrs.define(slots=True, kw_only=True)
class Layout:
    """The files of a data directory and the next step for them.

    The owner asks ``next_step`` for one step at a time, carries it out, and reports it with ``done``. A failed
    step is not reported, and is returned again. ``now`` is always the time of a monotonic clock in seconds.
    """

    epoch: int
    grace: float
    """Seconds that a superseded file stays."""
    seal_delay: int
    """Microseconds of bar time that must pass a day's end before the day is sealed."""
    compact_files: int
    """Number of a symbol's segments in one month at which they are joined; a finished month always is."""
    retention: int | None
    """Microseconds of bar time that bars are kept; None: no limit."""
    refold_delay: float
    """Seconds that rows older than the last fold gather in recent files before they are folded too."""
    merged_rows_max: int = 300_000
    """Recent files are not merged beyond this size, which bounds the memory of a merge."""
    _counter: int = attrs.field(default=0, init=False)
    _segments: dict[str, list[Segment]] = attrs.field(factory=dict, init=False)
    """Live segments of each symbol, by time."""
    _recents: list[Recent] = attrs.field(factory=list, init=False)
    """Live recent files, oldest first."""
    _superseded: dict[Segment | Recent, float] = attrs.field(factory=dict, init=False)
    """Removal time of each superseded file, monotonic seconds."""
    _folded_until: int | None = attrs.field(default=None, init=False)
    _refold_time: float = attrs.field(default=math.inf, init=False)
    _carry_time: float = attrs.field(default=0.0, init=False)
    _carry: list[Recent] = attrs.field(factory=list, init=False)
    """Recent files as of the last fold: rows that it folded leave them at the carry time."""
    _unchecked: set[str] = attrs.field(factory=set, init=False)
    """Symbols whose segments may need a rewrite."""

    @property
    def segments(self) -> list[Segment]:
        """Live segments, by symbol and time."""
        return [segment for symbol in sorted(self._segments) for segment in self._segments[symbol]]

    @property
    def recents(self) -> list[Recent]:
        """Live recent files, oldest first."""
        return list(self._recents)

    @property
    def files(self) -> list[Segment | Recent]:
        """Every live file."""
        return [*self._recents, *self.segments]

    @property
    def superseded(self) -> list[Segment | Recent]:
        """Superseded files that wait for removal."""
        return list(self._superseded)

    def segments_of(self, symbol: str) -> list[Segment]:
        """Return the live segments of one symbol, by time."""
        return list(self._segments.get(symbol, ()))

    def next_sequence(self) -> int:
        """Return a sequence number that no file of this directory has had."""
        self._counter += 1
        return self.epoch * SEQUENCES_PER_EPOCH + self._counter

    def publication(self) -> Recent:
        """Return the recent file to write next."""
        sequence = self.next_sequence()
        return Recent(sequence, sequence)

    def add(self, now: float, *files: Segment | Recent) -> None:
        """Add files that were written now, or found at start."""
        by_symbol: dict[str, list[Segment]] = defaultdict(list)
        for file in files:
            if isinstance(file, Segment):
                by_symbol[file.symbol].append(file)
        for symbol, added in by_symbol.items():
            before = [*self._segments.get(symbol, ()), *added]
            self._segments[symbol] = live_segments(before)
            self._supersede(now, before, self._segments[symbol])
            self._unchecked.add(symbol)
        recents = [file for file in files if isinstance(file, Recent)]
        if recents:
            known = [*self._recents, *recents]
            self._recents = live_recents(known)
            self._supersede(now, known, self._recents)
            if any(self._is_late(recent) for recent in recents):
                self._refold_time = min(self._refold_time, now + self.refold_delay)

    def forget(self, *files: Segment | Recent) -> None:
        """Remove files that are deleted or set aside."""
        self._carry = [recent for recent in self._carry if recent not in files]
        for file in files:
            self._superseded.pop(file, None)
            if isinstance(file, Segment):
                self._segments[file.symbol] = [s for s in self._segments.get(file.symbol, ()) if s != file]
            else:
                self._recents = [recent for recent in self._recents if recent != file]

    def boundary(self, newest_open_time: int | None) -> int | None:
        """Return the open time below which bars belong into segments: the last midnight ``seal_delay`` ago."""
        if newest_open_time is None:
            return None
        return (newest_open_time - self.seal_delay) // DAY * DAY

    def targets(
        self, symbol: str, days: Sequence[int], boundary: int
    ) -> list[tuple[Segment, tuple[Segment, ...]]]:
        """Return new segments for rows of these days of one symbol, each with the segments that it supersedes.

        A day within a segment rewrites that segment; several new days of a month that is over make one segment of
        the whole month; any other day gets its own. Days older than the retention are dropped.
        """
        own = self._segments.get(symbol, [])
        new_days: dict[int, list[int]] = defaultdict(list)
        ranges: dict[tuple[int, int], tuple[Segment, ...]] = {}
        for day in sorted(days):
            holder = next((segment for segment in own if segment.start <= day < segment.end), None)
            if holder is None:
                new_days[_MONTH.floor(day)].append(day)
            elif holder.start != 0:
                ranges[holder.start, holder.end] = (holder,)
        for month, within in new_days.items():
            month_end = _MONTH.end(month)
            if month_end <= boundary and len(within) > 1:
                touched = tuple(s for s in own if s.start < month_end and month < s.end and s.start != 0)
                start = min([max([month, *(s.end for s in own if s.start == 0)]), *(s.start for s in touched)])
                end = max([month_end, *(segment.end for segment in touched)])
                ranges = {span: old for span, old in ranges.items() if not (start <= span[0] and span[1] <= end)}
                ranges[start, end] = touched
            else:
                ranges.update({(day, day + DAY): () for day in within})
        return [(Segment(symbol, *span, self.next_sequence()), ranges[span]) for span in sorted(ranges)]

    def next_step(self, now: float, newest_open_time: int | None) -> Step | None:
        """Return the next step; None: nothing until ``wake_time``, a publication, or a newer bar."""
        due = [file for file, time in self._superseded.items() if time <= now]
        if due:
            return Delete(
                tuple(file for file in due if isinstance(file, Segment)),
                tuple(file for file in due if isinstance(file, Recent)),
            )
        boundary = self.boundary(newest_open_time)
        if boundary is not None and not self._carry:
            new_day = self._folded_until is None or boundary > self._folded_until
            if new_day or self._refold_time <= now:
                return Fold(boundary, tuple(self._recents))
        return self._carry_step(now) or self._merge_step() or self._segment_step(boundary)

    def wake_time(self) -> float:
        """Return the time at which a step may become due without other events; infinite if never."""
        times = list(self._superseded.values())
        if self._carry:
            times.append(self._carry_time)
        else:
            times.append(self._refold_time)
        return min(times)

    def done(self, step: Step, now: float) -> None:
        """Note that a step is complete; the files that it made were passed to ``add`` before."""
        match step:
            case Delete():
                self.forget(*step.segments, *step.recents)
            case Fold():
                self._folded_until = step.boundary
                self._carry_time = now + self.grace
                self._carry = list(step.recents)
                later = [recent for recent in self._recents if recent not in step.recents]
                self._refold_time = now + self.refold_delay if any(map(self._is_late, later)) else math.inf
                self._unchecked.update(self._segments)
            case MergeRecents():
                self._carry = [recent for recent in self._carry if recent not in step.inputs]
            case Rewrite() | Expire():
                pass

    def _supersede(self, now: float, known: Iterable[Segment | Recent], live: Sequence[Segment | Recent]) -> None:
        for file in set(known).difference(live):
            self._superseded.setdefault(file, now + self.grace)

    def _is_late(self, recent: Recent) -> bool:
        return self._folded_until is not None and recent.oldest is not None and recent.oldest < self._folded_until

    def _carry_step(self, now: float) -> MergeRecents | None:
        if not self._carry or now < self._carry_time:
            return None
        inputs: list[Recent] = []
        for recent in self._carry:
            if inputs and sum(r.rows for r in inputs) + recent.rows > self.merged_rows_max:
                break
            inputs.append(recent)
        return MergeRecents(tuple(inputs), _over(inputs), self._folded_until)

    def _merge_step(self) -> MergeRecents | None:
        if self._carry:
            return None  # the carry step merges them anyway
        highest = max((_level(recent.rows) for recent in self._recents), default=0)
        for level in range(highest + 1):
            run: list[Recent] = []
            for recent in reversed(self._recents):
                if _level(recent.rows) > level or sum(r.rows for r in run) + recent.rows > self.merged_rows_max:
                    break
                run.append(recent)
            if len(run) >= FAN_IN:
                run.reverse()
                return MergeRecents(tuple(run), _over(run))
        return None

    def _segment_step(self, boundary: int | None) -> Rewrite | Expire | None:
        if boundary is None:
            return None
        for symbol in sorted(self._unchecked):
            segments = self._segments.get(symbol, [])
            step = self._expire(segments, boundary) or self._compact(segments, boundary)
            if step is not None:
                return step
            self._unchecked.discard(symbol)
        return None

    def _expire(self, segments: Sequence[Segment], boundary: int) -> Expire | None:
        if self.retention is None:
            return None
        expired = [segment for segment in segments if segment.end <= boundary - self.retention]
        if not expired or (len(expired) == 1 and expired[0].start == 0):
            return None
        return Expire(Segment(segments[0].symbol, 0, expired[-1].end, self.next_sequence()))

    def _compact(self, segments: Sequence[Segment], boundary: int) -> Rewrite | None:
        months: dict[int, list[Segment]] = defaultdict(list)
        for segment in segments:
            if _MONTH.end(_MONTH.floor(segment.start)) >= segment.end and segment.start != 0:
                months[_MONTH.floor(segment.start)].append(segment)
        for month, within in months.items():
            whole = _MONTH.end(month) <= boundary
            if len(within) >= (2 if whole else self.compact_files):
                span = (within[0].start, _MONTH.end(month) if whole else within[-1].end)
                return Rewrite(tuple(within), Segment(within[0].symbol, *span, self.next_sequence()))
        return None


def _over(inputs: Sequence[Recent]) -> Recent:
    """Return the file that supersedes these, which cover all publications from the first to the last of them."""
    rows = sum(recent.rows for recent in inputs)
    version = inputs[0].version + 1 if len(inputs) == 1 else 0
    oldest = min((recent.oldest for recent in inputs if recent.oldest is not None), default=None)
    return Recent(inputs[0].first, inputs[-1].last, version, rows, oldest)


def _level(rows: int) -> int:
    level = 0
    while rows >= FAN_IN:
        rows //= FAN_IN
        level += 1
    return level
