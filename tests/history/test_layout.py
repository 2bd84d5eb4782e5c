"""The layout decides from names alone what to do next, and nothing is lost on the way."""

from itertools import combinations

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from candled.domain.interval import DAY, INTERVALS, MINUTE
from candled.history.segments.layout import FAN_IN, Delete, Expire, Fold, Layout, MergeRecents, Rewrite
from candled.history.segments.names import Recent, Segment, live_recents, live_segments

HOUR = 60 * MINUTE
MONTH = INTERVALS["1M"]
FEBRUARY_24 = 1_771_891_200_000_000
GRACE = 10.0
RETENTION = 20 * DAY


def make_layout(epoch: int = 1, retention: int | None = None, merged_rows_max: int = 300_000) -> Layout:
    return Layout(
        epoch=epoch,
        grace=GRACE,
        seal_delay=HOUR,
        compact_files=4,
        retention=retention,
        refold_delay=60.0,
        merged_rows_max=merged_rows_max,
    )


def day(number: int, sequence: int, days: int = 1, symbol: str = "A") -> Segment:
    return Segment(symbol, number * DAY, (number + days) * DAY, sequence)


def test_recent_files_merge_like_digits() -> None:
    """Recent files are merged like the digits of a counter."""
    layout = make_layout()
    most = 0
    for number in range(2000):
        layout.add(0.0, attrs.evolve(layout.publication(), rows=3))
        while isinstance(step := layout.next_step(0.0, None), MergeRecents):
            layout.add(0.0, attrs.evolve(step.output, rows=sum(recent.rows for recent in step.inputs)))
            layout.done(step, 0.0)
        most = max(most, len(layout.recents))
        assert sum(recent.rows for recent in layout.recents) == 3 * (number + 1)
    assert most <= 5 * FAN_IN


def test_a_superseded_file_stays_for_the_grace_period() -> None:
    layout = make_layout()
    layout.add(0.0, day(1, 1), day(1, 2))
    assert layout.next_step(GRACE - 0.1, None) is None
    assert layout.wake_time() == GRACE
    assert Delete((day(1, 1),)) == layout.next_step(GRACE, None)


def test_a_month_that_is_over_becomes_one_file() -> None:
    layout = make_layout()
    january = [day(20_454 + number, number + 1) for number in range(3)]  # from 2026-01-01
    layout.add(0.0, *january)
    newest = (20_454 + 31) * DAY + HOUR
    layout.done(Fold(layout.boundary(newest) or 0, ()), 0.0)
    step = layout.next_step(0.0, newest)
    assert isinstance(step, Rewrite)
    assert step.inputs == tuple(january)
    assert (step.output.start, step.output.end) == (20_454 * DAY, (20_454 + 31) * DAY)
    layout.add(0.0, step.output)
    layout.done(step, 0.0)
    assert layout.segments == [step.output]


def test_days_of_a_month_are_joined() -> None:
    """Days of a running month are joined at intervals."""
    layout = make_layout()
    layout.add(0.0, *(day(20_454 + number, number + 1) for number in range(4)))
    newest = (20_454 + 6) * DAY
    layout.done(Fold(layout.boundary(newest) or 0, ()), 0.0)
    step = layout.next_step(0.0, newest)
    assert isinstance(step, Rewrite)
    assert (step.output.start, step.output.end) == (20_454 * DAY, (20_454 + 4) * DAY)


def test_old_months_are_filled_by_one_file_each() -> None:
    layout = make_layout()
    boundary = 20_600 * DAY
    targets = layout.targets("A", [20_454 * DAY, 20_455 * DAY, 20_500 * DAY], boundary)
    assert [(target.start // DAY, target.end // DAY) for target, _ in targets] == [
        (20_454, 20_485),
        (20_500, 20_501),
    ]


def test_correction_rewrites_its_segment() -> None:
    """A revision of a sealed day rewrites the segment that has it."""
    layout = make_layout()
    month = day(20_454, 5, 31)
    layout.add(0.0, month)
    [(target, inputs)] = layout.targets("A", [20_460 * DAY], 20_600 * DAY)
    assert inputs == (month,)
    assert target.covers(month)


@attrs.frozen
class Listing:
    """What a reader found in the folders at one time, and what it would have read."""

    time: float
    segments: list[Segment]
    recents: list[Recent]
    rows: dict[tuple[str, int], int]


class DirectoryModel(RuleBasedStateMachine):
    """Files as dictionaries, steps that may be cut off, restarts, against one dictionary of every bar.

    Bars are (symbol, minute) -> revision. A reader that lists names now, and opens the files within the grace
    period, must see exactly what was published; what was stored and is not published is in the journal.
    """

    def __init__(self) -> None:
        super().__init__()
        self.truth: dict[tuple[str, int], int] = {}
        self.journal: dict[tuple[str, int], int] = {}
        self.unpublished: dict[tuple[str, int], int] = {}
        self.segments: dict[Segment, dict[int, int]] = {}
        self.recents: dict[Recent, dict[tuple[str, int], int]] = {}
        self.layout = make_layout()
        self.now = 0.0
        self.epoch = 1
        self.retained_from = 0
        self.listings: list[Listing] = []

    publish_while_folding = False

    @rule()
    def publish_during_the_next_folds(self) -> None:
        self.publish_while_folding = True

    @initialize(retention=st.sampled_from([None, RETENTION]))
    def begin(self, retention: int | None) -> None:
        self.retention = retention
        self.newest = FEBRUARY_24
        self.layout = make_layout(1, retention, 12)

    @rule(symbol=st.sampled_from("AB"), ahead=st.integers(1, 3 * 24), count=st.integers(1, 3))
    def close_bars(self, symbol: str, ahead: int, count: int) -> None:
        for _ in range(count):
            self.newest += ahead * HOUR
            self._store(symbol, self.newest, 0)

    @precondition(lambda self: self.truth)
    @rule(data=st.data())
    def revise_a_bar(self, data: st.DataObject) -> None:
        symbol, open_time = data.draw(st.sampled_from(sorted(self.truth)))
        self._store(symbol, open_time, self.truth[symbol, open_time] + 1)

    @rule(symbol=st.sampled_from("AB"), days_ago=st.integers(0, 80), days=st.integers(1, 6))
    def back_fill(self, symbol: str, days_ago: int, days: int) -> None:
        for day_ago in range(days_ago, days_ago + days):
            open_time = self.newest - day_ago * DAY - 5 * MINUTE
            self._store(symbol, open_time, self.truth.get((symbol, open_time), -1) + 1)

    def _store(self, symbol: str, open_time: int, revision: int) -> None:
        for rows in (self.truth, self.journal, self.unpublished):
            rows[symbol, open_time] = revision

    @rule()
    def publish(self) -> None:
        if self.unpublished:
            oldest = min(open_time for _, open_time in self.unpublished)
            recent = attrs.evolve(self.layout.publication(), rows=len(self.unpublished), oldest=oldest)
            self.recents[recent] = dict(self.unpublished)
            self.layout.add(self.now, recent)
            self.unpublished.clear()

    @rule(seconds=st.floats(0.1, 2 * GRACE))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(cut_off=st.sampled_from([None, None, None, 0, 1, 2]))
    def take_steps(self, cut_off: int | None) -> None:
        for _ in range(40):
            step = self.layout.next_step(self.now, self.newest)
            if step is None:
                return
            if not self._carry_out(step, cut_off):
                self.restart()
                return

    def _carry_out(self, step: object, cut_off: int | None) -> bool:
        """Carry out a step; False if it was cut off after ``cut_off`` files."""
        files = 0

        def another_file() -> bool:
            nonlocal files
            files += 1
            return cut_off is None or files <= cut_off

        match step:
            case Delete():
                for file in (*step.segments, *step.recents):
                    if not another_file():
                        return False
                    self.segments.pop(file, None)  # type: ignore[call-overload]
                    self.recents.pop(file, None)  # type: ignore[call-overload]
                self.layout.done(step, self.now)
            case MergeRecents():
                rows: dict[tuple[str, int], int] = {}
                for recent in step.inputs:
                    for key, revision in self.recents[recent].items():
                        if step.drop_before is None or key[1] >= step.drop_before:
                            rows[key] = max(revision, rows.get(key, 0))
                if not another_file():
                    return False
                output = attrs.evolve(
                    step.output, rows=len(rows), oldest=min((key[1] for key in rows), default=None)
                )
                self.recents[output] = rows
                self.layout.add(self.now, output)
                self.layout.done(step, self.now)
                if step.drop_before is not None:
                    self.journal = {
                        key: revision
                        for key, revision in self.journal.items()
                        if key[1] >= step.drop_before or key in self.unpublished
                    }
            case Rewrite():
                if not another_file():
                    return False
                self.segments[step.output] = {k: v for s in step.inputs for k, v in self.segments[s].items()}
                self.layout.add(self.now, step.output)
                self.layout.done(step, self.now)
            case Expire():
                if not another_file():
                    return False
                self.retained_from = max(self.retained_from, step.output.end)
                self.segments[step.output] = {}
                self.layout.add(self.now, step.output)
                self.layout.done(step, self.now)
            case Fold():
                newest: dict[tuple[str, int], int] = {}
                for recent in step.recents:
                    for key, revision in self.recents[recent].items():
                        newest[key] = max(revision, newest.get(key, 0))
                sealed = self._sealed(self.layout.segments)
                for symbol in "AB":
                    due = {
                        open_time: revision
                        for (name, open_time), revision in newest.items()
                        if name == symbol
                        and open_time < step.boundary
                        and sealed.get((name, open_time), -1) < revision
                    }
                    days = sorted({open_time // DAY * DAY for open_time in due})
                    for target, inputs in self.layout.targets(symbol, days, step.boundary):
                        if not another_file():
                            return False
                        merged = {k: v for s in inputs for k, v in self.segments[s].items()}
                        merged |= {t: r for t, r in due.items() if target.start <= t < target.end}
                        self.segments[target] = merged
                        if self.publish_while_folding:
                            self.publish()
                        self.layout.add(self.now, target)
                self.layout.done(step, self.now)
        return True

    @rule()
    def restart(self) -> None:
        """kill -9: memory is gone, files and journal are what they are."""
        self.epoch += 1
        self.layout = make_layout(self.epoch, self.retention, 12)
        self.layout.add(self.now, *self.segments, *self.recents)
        on_disk = self._read(list(self.segments), list(self.recents))
        self.unpublished = {
            key: revision
            for key, revision in self.journal.items()
            if on_disk.get(key, -1) < revision and key[1] >= self.retained_from
        }

    @rule()
    def a_reader_lists(self) -> None:
        segments, recents = live_segments(self.segments), live_recents(self.recents)
        self.listings.append(Listing(self.now, segments, recents, self._read(segments, recents)))

    def _sealed(self, segments: list[Segment]) -> dict[tuple[str, int], int]:
        rows: dict[tuple[str, int], int] = {}
        for segment in segments:
            for open_time, revision in self.segments[segment].items():
                assert (segment.symbol, open_time) not in rows, "a bar stands in two segments"
                rows[segment.symbol, open_time] = revision
        return rows

    def _read(self, segments: list[Segment], recents: list[Recent]) -> dict[tuple[str, int], int]:
        rows = self._sealed(live_segments(segments))
        newest: dict[tuple[str, int], int] = {}
        for recent in live_recents(recents):
            for key, revision in self.recents[recent].items():
                newest[key] = max(revision, newest.get(key, 0))
        return rows | newest

    def _retained(self, rows: dict[tuple[str, int], int]) -> dict[tuple[str, int], int]:
        return {key: revision for key, revision in rows.items() if key[1] >= self.retained_from}

    @invariant()
    def every_bar_is_read_once_in_its_newest_revision(self) -> None:
        seen = self._read(list(self.segments), list(self.recents)) | self.unpublished
        assert self._retained(self.truth) == self._retained(seen)

    @invariant()
    def nothing_is_only_in_the_journal_but_what_is_unpublished(self) -> None:
        published = self._retained(self.journal)
        on_disk = self._read(list(self.segments), list(self.recents))
        assert all(on_disk.get(key, -1) >= r or self.unpublished.get(key) == r for key, r in published.items())

    @invariant()
    def files_listed_within_the_grace_period_are_still_there(self) -> None:
        self.listings = [listing for listing in self.listings if self.now - listing.time < GRACE]
        for listing in self.listings:
            assert set(listing.segments) <= set(self.segments)
            assert set(listing.recents) <= set(self.recents)

    @invariant()
    def it_does_not_matter_that_segments_and_recent_files_are_listed_at_different_times(self) -> None:
        for older, newer in combinations(self.listings, 2):
            for first, second in ((older, newer), (newer, older)):
                read = self._read(first.segments, second.recents)
                assert all(read.get(key, -1) >= revision for key, revision in self._retained(older.rows).items())

    def teardown(self) -> None:
        """With time, everything old is sealed, months are whole, and little is left over."""
        self.publish()
        for _ in range(100):
            self.now += GRACE
            self.take_steps(None)
        boundary = self.layout.boundary(self.newest) or 0
        assert all(key[1] >= boundary for rows in self.recents.values() for key in rows)
        assert set(live_segments(self.segments)) == set(self.segments)
        per_month: dict[tuple[str, int], int] = {}
        for segment in self.segments:
            if segment.start:
                month_of = (segment.symbol, MONTH.floor(segment.start))
                per_month[month_of] = per_month.get(month_of, 0) + 1
        assert all(count <= (1 if MONTH.end(month) <= boundary else 4) for (_, month), count in per_month.items())
        if self.retention is not None:
            oldest = min((s.start for s in self.segments if s.start), default=boundary)
            assert oldest >= boundary - self.retention - 31 * DAY
        self.every_bar_is_read_once_in_its_newest_revision()


DirectoryModel.TestCase.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
TestDirectory = DirectoryModel.TestCase
