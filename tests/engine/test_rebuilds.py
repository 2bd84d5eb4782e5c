"""Longer bars whose parts have left memory, while their minutes are read back."""

import pytest
from msgspec.structs import replace

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.interval import INTERVALS, MINUTE, ONE_MINUTE, Interval
from candled.engine.interval_tree import LONGER, PARTS, USERS, kept_from
from candled.engine.rebuilds import MinutesNeeded, Rebuilds, merged_minutes

START = 1_790_000_000_000_000 // (1440 * MINUTE) * (1440 * MINUTE)
FIVE, FIFTEEN = INTERVALS["5m"], INTERVALS["15m"]


def revised(number: int, position: int, revision: int = 1) -> BarEvent:
    bar = Bar(
        "A", "1m", START + number * MINUTE, START + (number + 1) * MINUTE, 1, 1, 1, 1, 1, 1, 1, 0, 0,
        number, number, NO_TRADE, True, True, revision,
    )  # fmt: skip
    return BarEvent(BarEventKind.REVISION, bar, bar.close_time, position)


def requested(position: int = 7) -> Rebuilds:
    rebuilds = Rebuilds()
    event = revised(1, position)
    rebuilds.request("A", FIVE, START, {event.bar.open_time: event.bar}, event)
    return rebuilds


def test_minutes_are_requested_once() -> None:
    """What changes while they are read is remembered instead of being requested again."""
    rebuilds = requested()
    assert rebuilds.note(FIVE, START, revised(2, 9))
    assert rebuilds.take_needed() == [MinutesNeeded("A", "5m", START, START + 5 * MINUTE)]
    assert rebuilds.take_needed() == []


def test_a_rebuild_has_the_newest_change() -> None:
    """Its revision takes the position of the last minute that changed, and its floor that of the first."""
    rebuilds = requested(7)
    rebuilds.note(FIVE, START, revised(1, 9, revision=2))
    rebuild = rebuilds.finish("A", FIVE, START)
    assert rebuild is not None
    assert (rebuild.position, rebuild.resume_floor) == (9, 7)
    assert [bar.revision for bar in rebuild.minutes.values()] == [2]
    assert rebuilds.finish("A", FIVE, START) is None


def test_a_change_of_another_bar_is_not_noted() -> None:
    """Only the bar under rebuild takes it."""
    assert not requested().note(FIVE, START + 5 * MINUTE, revised(6, 9))


def test_a_bar_knows_the_rebuilds_of_its_parts() -> None:
    """Nothing is merged from a part that is being rebuilt."""
    rebuilds = requested()
    assert len(rebuilds.of_parts("A", FIFTEEN, START)) == 1
    assert rebuilds.of_parts("A", FIFTEEN, START + 15 * MINUTE) == []
    assert rebuilds.of_parts("B", FIFTEEN, START) == []


def test_closed_bars_carry_the_floor_meanwhile() -> None:
    """Whoever resumes from them gets the revisions that were still to be emitted."""
    rebuilds = requested(7)
    update = replace(revised(3, 0), kind=BarEventKind.UPDATE)
    floors = [event.resume_floor for event in rebuilds.with_resume_floor([revised(3, 12), update])]
    assert floors == [7, 0]
    rebuilds.finish("A", FIVE, START)
    assert [event.resume_floor for event in rebuilds.with_resume_floor([revised(3, 12)])] == [0]


def test_a_dropped_symbol_needs_nothing() -> None:
    """Its rebuilds and its requests are gone, those of others stay."""
    rebuilds = requested()
    other = revised(1, 8)
    rebuilds.request("B", FIVE, START, {}, other)
    rebuilds.forget("A")
    assert [needed.symbol for needed in rebuilds.take_needed()] == ["B"]
    assert rebuilds.finish("A", FIVE, START) is None


def test_changed_minutes_replace_stored_ones() -> None:
    """They are newer, whether or not the history has them already."""
    stored = [revised(n, 1).bar for n in (0, 1, 2)]
    changed = revised(1, 9, revision=2).bar
    late = revised(4, 9).bar
    merged = merged_minutes(stored, {changed.open_time: changed, late.open_time: late})
    assert merged == [stored[0], changed, stored[2], late]


@pytest.mark.parametrize("longer", LONGER, ids=str)
def test_every_interval_is_made_of_whole_parts(longer: Interval) -> None:
    """Periods of the parts begin and end with those of the longer bar, and parts come before their users."""
    assert longer in PARTS
    part = PARTS[longer]
    assert part is ONE_MINUTE or LONGER.index(part) < LONGER.index(longer)
    assert longer in USERS[part]
    for days in range(0, 800, 7):
        open_time = longer.floor(START + days * 1440 * MINUTE)
        end = longer.end(open_time)
        assert part.floor(open_time) == open_time
        assert part.floor(end) == end


def test_parts_stay_while_a_late_revision_is_likely() -> None:
    """The parts of a period are kept until half an hour after its end."""
    end = START + 60 * MINUTE
    half_hours = INTERVALS["30m"]
    assert kept_from(half_hours, end + 30 * MINUTE) <= START
    assert kept_from(half_hours, end + 31 * MINUTE) > START - 1
