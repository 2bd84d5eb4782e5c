"""The tail of closed bars that are published and not stored yet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candled.domain.event import BarEvent
from candled.domain.interval import MINUTE
from candled.stream.unstored import HistoryBehindError, UnstoredTail
from tests.stream.support import START, Stored, close, five_minutes, minute, revise


def publish(tail: UnstoredTail, *events: BarEvent, now: float = 0.0) -> None:
    tail.append(events, now)


def positions(tail: UnstoredTail) -> list[int]:
    return [event.position for event in tail.events()]


def test_what_is_stored_leaves() -> None:
    """Events up to the stored position are not read any more, and leave at the next prune."""
    stored = Stored()
    tail = UnstoredTail(stored)
    for position in (1, 2, 3):
        publish(tail, close(minute(position), position))
    stored.stored_position = 2
    assert (positions(tail), len(tail)) == ([3], 3)
    tail.prune(0.0)
    assert (positions(tail), len(tail)) == ([3], 1)


def test_part_of_a_batch_is_stored() -> None:
    """What is stored of a batch is not read, though the batch stays until all of it is stored."""
    stored = Stored()
    tail = UnstoredTail(stored)
    publish(tail, close(minute(0), 1), close(minute(1), 2))
    stored.stored_position = 1
    tail.prune(0.0)
    assert positions(tail) == [2]


def test_seconds_to_storing_are_observed() -> None:
    """Each batch is measured once, from its publishing to the prune that finds it stored."""
    stored, seconds = Stored(), list[float]()
    tail = UnstoredTail(stored, observe=seconds.append)
    publish(tail, close(minute(0), 5), now=10.0)
    publish(tail, close(minute(1), 7), now=11.0)
    for position, now in ((6, 12.0), (7, 12.5), (7, 13.0)):
        stored.stored_position = position
        tail.prune(now)
    assert seconds == [2.0, 1.5]


def test_newest_revision_is_read() -> None:
    """Of one symbol, interval and range each bar is there once, in its newest revision."""
    tail = UnstoredTail(Stored())
    publish(tail, close(minute(0), 1), close(minute(1), 2), close(five_minutes(0), 2))
    publish(tail, revise(minute(0, trades=4, revision=1), 3), close(minute(0, symbol="ETHUSDT"), 4))
    assert tail.bars("BTCUSDT", "1m", START, START + MINUTE) == {START: minute(0, trades=4, revision=1)}
    assert sorted(tail.bars("BTCUSDT", "1m", START, START + 2 * MINUTE)) == [START, START + MINUTE]
    assert sorted(tail.bars("BTCUSDT", "5m", START, START + 1)) == [START]


def test_reading_past_the_limit_is_refused() -> None:
    """What had to be dropped before it was stored is no silent hole: reading raises until it is stored."""
    stored = Stored()
    tail = UnstoredTail(stored, bars_max=2)
    for position in (1, 2, 3, 4):
        publish(tail, close(minute(position), position))
    assert len(tail) == 2
    with pytest.raises(HistoryBehindError):
        tail.events()
    with pytest.raises(HistoryBehindError):
        tail.bars("BTCUSDT", "1m", START, START + MINUTE)
    stored.stored_position = 2
    assert positions(tail) == [3, 4]


@given(st.lists(st.one_of(st.integers(1, 5), st.just(0)), max_size=40), st.integers(1, 12), st.data())
def test_nothing_unstored_is_missed(batches: list[int], bars_max: int, data: st.DataObject) -> None:
    """However publishing (a batch of N bars) and storing (0) alternate: all that is unstored, or a refusal."""
    stored = Stored()
    tail = UnstoredTail(stored, bars_max=bars_max)
    published = 0
    for size in batches:
        if size == 0:
            stored.stored_position = data.draw(st.integers(stored.stored_position, published))
            tail.prune(0.0)
        else:
            publish(tail, *(close(minute(published + n), published + n) for n in range(1, size + 1)))
            published += size
        assert len(tail) <= bars_max
        unstored = list(range(stored.stored_position + 1, published + 1))
        try:
            assert positions(tail) == unstored
        except HistoryBehindError:
            assert len(unstored) > bars_max - 5
