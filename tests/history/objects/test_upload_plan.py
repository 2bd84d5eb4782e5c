"""What is put and deleted when: no listing of the store ever lacks a bar that an earlier one had."""

from itertools import combinations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from candled.domain.interval import DAY
from candled.history.objects.upload_plan import BATCH, File, UploadPlan
from candled.history.segments.names import Recent, Segment, live_recents, live_segments
from tests.history.test_layout import GRACE, DirectoryModel, Listing

MERGED = Recent(1, 8)
PUBLICATION = Recent(9, 9)
SEALED = Segment("A", 0, DAY, 7)
REWRITTEN = Recent(3, 3, version=1)


def plan_with(now: float, *live: File) -> UploadPlan:
    plan = UploadPlan(GRACE)
    plan.looked(now, live)
    return plan


def order_of(plan: UploadPlan) -> list[File]:
    """All that waits, in the order in which it is put."""
    found = list[File]()
    while puts := plan.next_puts():
        for file in puts:
            plan.put(0.0, file)
        found += puts
    return found


def test_publications_go_first() -> None:
    """They alone have the newest bars; what a merged file has is in the store already."""
    plan = plan_with(0.0, MERGED, SEALED, PUBLICATION)
    plan.listed(0.0, [Recent(number, number) for number in range(1, 9)])
    assert order_of(plan) == [PUBLICATION, SEALED, MERGED]


def test_publications_go_one_after_the_other() -> None:
    """A kill in between, and a lost volume, leave no hole before bars that the store has."""
    plan = plan_with(0.0, Recent(11, 11), PUBLICATION, Recent(10, 10))
    assert plan.next_puts() == [PUBLICATION]
    assert order_of(plan) == [PUBLICATION, Recent(10, 10), Recent(11, 11)]


def test_after_an_outage_older_bars_go_first() -> None:
    """Of some publications only a merged file is left, and it may lack rows that are sealed: all that is older."""
    plan = plan_with(0.0, MERGED, SEALED, PUBLICATION, Recent(10, 10))
    assert order_of(plan) == [SEALED, MERGED, PUBLICATION, Recent(10, 10)]


def test_sealed_files_go_before_merged_ones() -> None:
    """A merged or rewritten recent file may lack rows that are sealed."""
    plan = plan_with(0.0, MERGED, SEALED, REWRITTEN)
    plan.listed(0.0, [Recent(number, number) for number in range(1, 9)])
    assert order_of(plan) == [SEALED, MERGED, REWRITTEN]


def test_merged_files_go_one_after_the_other() -> None:
    """Recent rows override sealed ones: the older file drops an old revision before the newer one goes."""
    plan = plan_with(0.0, Recent(5, 9), REWRITTEN)
    plan.listed(0.0, [Recent(number, number) for number in range(1, 9)])
    assert plan.next_puts() == [REWRITTEN]
    assert order_of(plan) == [REWRITTEN, Recent(5, 9)]


def test_batches_are_bounded() -> None:
    """However much waits, one round looks at the data directory in between."""
    plan = plan_with(0.0, *(Segment("A", day * DAY, (day + 1) * DAY, day) for day in range(1, 100)))
    assert len(plan.next_puts()) == BATCH
    assert plan.pending == 99


def test_what_the_store_has_is_not_put_again() -> None:
    plan = plan_with(0.0, PUBLICATION, SEALED)
    plan.listed(0.0, [PUBLICATION])
    assert plan.next_puts() == [SEALED]


def test_an_object_that_is_gone_is_put_again() -> None:
    """Someone deleted it: the next listing shows it missing."""
    plan = plan_with(0.0, SEALED)
    plan.put(0.0, SEALED)
    plan.listed(5.0, [])
    plan.looked(5.0, [SEALED])
    assert plan.next_puts() == [SEALED]


def test_behind_is_the_age_of_the_oldest_file() -> None:
    plan = plan_with(10.0, PUBLICATION)
    plan.looked(40.0, [PUBLICATION, SEALED])
    assert plan.behind(70.0) == 60.0
    plan.put(70.0, PUBLICATION)
    assert plan.behind(70.0) == 30.0
    plan.put(70.0, SEALED)
    assert plan.behind(70.0) == 0.0


def test_a_merge_does_not_make_what_waits_younger() -> None:
    """The files that it replaces never reached the store."""
    plan = plan_with(0.0, Recent(1, 1), Recent(2, 2))
    plan.looked(60.0, [Recent(1, 2)])
    assert plan.behind(100.0) == 100.0


def test_superseded_object_is_deleted() -> None:
    """An object is deleted once others have superseded it for the grace period."""
    plan = plan_with(0.0, Recent(1, 2))
    plan.listed(0.0, [Recent(1, 1), Recent(2, 2)])
    assert plan.deletions(1000.0) == []  # the store has nothing yet that replaces them
    plan.put(1000.0, Recent(1, 2))
    assert plan.deletions(1000.0 + GRACE - 0.1) == []
    assert plan.deletions(1000.0 + GRACE) == [Recent(1, 1), Recent(2, 2)]
    plan.deleted(plan.deletions(1000.0 + GRACE))
    assert plan.deletions(2000.0 + GRACE) == []


def test_a_restart_begins_the_grace_period_again() -> None:
    """A reader may have listed a superseded object just before; a later listing changes nothing."""
    plan = plan_with(50.0, Recent(1, 2))
    plan.listed(50.0, [Recent(1, 1), Recent(1, 2)])
    plan.listed(55.0, [Recent(1, 1), Recent(1, 2)])
    assert plan.deletions(50.0 + GRACE - 0.1) == []
    assert plan.deletions(50.0 + GRACE) == [Recent(1, 1)]


def test_another_writers_objects_stay() -> None:
    """What no object supersedes is never deleted, whether or not the data directory has it."""
    plan = plan_with(0.0, SEALED)
    plan.listed(0.0, [Segment("B", 0, DAY, 3)])
    plan.put(0.0, SEALED)
    assert plan.deletions(1e9) == []


class StoreModel(DirectoryModel):
    """The directory of ``DirectoryModel`` and a store beside it, with kills, readers and lost volumes."""

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[File, object] = {}
        """What each object holds: rows as in the directory's files."""
        self.plan = UploadPlan(GRACE)
        self.shown: dict[tuple[str, int], int] = {}
        """The newest revision of each bar that a reader of the store could ever see."""
        self.store_listings: list[Listing] = []

    @rule(puts=st.sampled_from([1, 1, 2, 3, 30]), killed=st.booleans(), order=st.randoms(use_true_random=False))
    def upload(self, puts: int, killed: bool, order: object) -> None:
        """Some puts, in any order within a batch; a kill may come before the last one is noted."""
        for number in range(puts):
            self.plan.looked(self.now, self.layout.files)
            batch = self.plan.next_puts()
            if not batch:
                return
            file = order.choice(batch)  # type: ignore[attr-defined]
            self._put(file)
            self.no_bar_of_the_store_is_lost_or_goes_back()
            self.recent_objects_may_be_listed_before_sealed_ones()
            if killed and number == puts - 1:
                self.restart_upload()
                return
            self.plan.put(self.now, file)

    def _put(self, file: File) -> None:
        rows: object = self.segments[file] if isinstance(file, Segment) else self.recents[file]
        self.objects.setdefault(file, rows)

    @rule()
    def restart_upload(self) -> None:
        self.plan = UploadPlan(GRACE)
        self.plan.listed(self.now, self.objects)

    @rule()
    def list_again(self) -> None:
        self.plan.listed(self.now, self.objects)

    @rule()
    def delete_due(self) -> None:
        due = self.plan.deletions(self.now)
        for file in due:
            del self.objects[file]
        self.plan.deleted(due)

    @rule()
    def lose_the_volume(self) -> None:
        """A new directory is restored from the store; what was not there yet is lost here, and fetched again."""
        live: list[File] = [*self._store_segments(), *self._store_recents()]
        self.segments = {file: self.objects[file] for file in live if isinstance(file, Segment)}  # type: ignore[misc]
        self.recents = {file: self.objects[file] for file in live if isinstance(file, Recent)}  # type: ignore[misc]
        self.truth = self._retained(self._read_store())
        self.journal, self.listings = {}, []
        self.restart()
        self.restart_upload()

    @rule()
    def a_store_reader_lists(self) -> None:
        self.store_listings.append(
            Listing(self.now, self._store_segments(), self._store_recents(), self._read_store())
        )

    def _store_segments(self) -> list[Segment]:
        return live_segments(file for file in self.objects if isinstance(file, Segment))

    def _store_recents(self) -> list[Recent]:
        return live_recents(file for file in self.objects if isinstance(file, Recent))

    def _read_store(self) -> dict[tuple[str, int], int]:
        return self._rows_of(self._store_segments(), self._store_recents())

    def _rows_of(self, segments: list[Segment], recents: list[Recent]) -> dict[tuple[str, int], int]:
        rows: dict[tuple[str, int], int] = {}
        for segment in segments:
            for open_time, revision in self.objects[segment].items():  # type: ignore[attr-defined]
                rows[segment.symbol, open_time] = revision
        newest: dict[tuple[str, int], int] = {}
        for recent in recents:
            for key, revision in self.objects[recent].items():  # type: ignore[attr-defined]
                newest[key] = max(revision, newest.get(key, 0))
        return rows | newest

    @invariant()
    def no_bar_of_the_store_is_lost_or_goes_back(self) -> None:
        read = self._read_store()
        for key, revision in self._retained(self.shown).items():
            assert read.get(key, -1) >= revision
        self.shown = self._retained(self.shown | read)

    @invariant()
    def objects_listed_within_the_grace_period_are_still_there(self) -> None:
        self.store_listings = [each for each in self.store_listings if self.now - each.time < GRACE]
        for listing in self.store_listings:
            assert {*listing.segments, *listing.recents} <= set(self.objects)

    @invariant()
    def recent_objects_may_be_listed_before_sealed_ones(self) -> None:
        """As a reader does: what leaves recent files in between is in sealed ones."""
        for older, newer in combinations(self.store_listings, 2):
            read = self._rows_of(newer.segments, older.recents)
            assert all(read.get(key, -1) >= revision for key, revision in self._retained(older.rows).items())

    def teardown(self) -> None:
        """With time, the store has what the directory has, and nothing that is superseded."""
        super().teardown()
        self.restart_upload()
        self.upload(10_000, killed=False, order=_First())
        assert self._retained(self._read_store()) == self._retained(self.truth)
        self.now += 2 * GRACE
        while self.plan.deletions(self.now):
            self.delete_due()
        assert set(self.objects) == {*self._store_segments(), *self._store_recents()}


class _First:
    """Chooses the first of a batch."""

    def choice(self, batch: list[File]) -> File:
        return batch[0]


StoreModel.TestCase.settings = settings(max_examples=50, stateful_step_count=50, deadline=None)
TestStoreModel = StoreModel.TestCase
