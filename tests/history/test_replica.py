"""The replica of a log answers as every history does, within what it holds."""

from random import Random

import pytest

from candled.domain.event import BarEvent, BarEventKind
from candled.domain.interval import INTERVALS, MINUTE
from candled.history import MemoryHistory, MemoryStore
from candled.history.replica import MINUTES_DROPPED, Replica
from tests.history.bars import START, events, minute

ID = "0123456789abcdef"


def random_events(seed: int) -> list[BarEvent]:
    """Minutes with holes, some of them revised, of two symbols."""
    rng = Random(seed)
    out: list[BarEvent] = []
    for number in sorted(rng.sample(range(3000), 700)):
        bar = minute(number, rng.choice(("BTCUSDT", "ETHUSDT")), trades=rng.randint(0, 3))
        out.append(BarEvent(BarEventKind.CLOSE, bar, bar.close_time))
        if rng.random() < 0.1:
            earlier = rng.choice(out).bar
            revised = minute(
                (earlier.open_time - START) // MINUTE, earlier.symbol, revision=5 + number, salt=number
            )
            out.append(BarEvent(BarEventKind.REVISION, revised, bar.close_time))
    return events((event.bar for event in out), 1)


@pytest.mark.parametrize("seed", [1])
async def test_replica_answers_as_others(seed: int) -> None:
    """Bars of every interval, changes and the rest are those of a history in memory."""
    memory, replica = MemoryHistory(MemoryStore()), Replica(ID, 1_000_000)
    found = random_events(seed)
    await memory.store(found)
    replica.take(found)
    rng = Random(seed)

    assert replica.stored_position == memory.stored_position
    assert await replica.newest_bars() == await memory.newest_bars()
    assert await replica.symbols() == await memory.symbols()
    for symbol in ("BTCUSDT", "ETHUSDT", "NONE"):
        assert await replica.incomplete_bars(symbol, START) == await memory.incomplete_bars(symbol, START)
        for interval in INTERVALS:
            start, end = START + rng.randint(0, 2000) * MINUTE, START + rng.randint(1000, 4000) * MINUTE
            for bounds in ((None, None), (start, None), (None, end), (start, end), (start + 1, end + 1)):
                for limit in (0, 1, 40):
                    arguments = (symbol, interval, *bounds, limit)
                    assert await replica.bars(*arguments) == await memory.bars(*arguments), arguments
    for intervals in (["1m"], ["5m"], ["1h"], ["1M"], ["1m", "3m", "1h", "1d"]):
        for position in (0, 300, 650, 10_000):
            for symbols in ((), ("BTCUSDT",)):
                arguments_ = (position, symbols, intervals, 10_000)
                same = sorted(await memory.changed_since(*arguments_), key=order)
                assert sorted(await replica.changed_since(*arguments_), key=order) == same


def order(row: object) -> str:
    return repr(row)


async def test_changes_come_lowest_first() -> None:
    """Changes are in order of position, the shorter interval first where they share it."""
    replica = Replica(ID, 1_000_000)
    replica.take(random_events(1))
    rows = await replica.changed_since(100, (), ("1m", "5m", "1h"), 50)

    assert len(rows) == 50
    assert [position for position, _ in rows] == sorted(position for position, _ in rows)


async def test_an_older_revision_changes_nothing() -> None:
    """An entry that is behind a known one is left out."""
    replica = Replica(ID, 1_000_000)
    replica.take(events([minute(0, revision=2), minute(0, revision=1)], 7))

    assert await replica.bars("BTCUSDT", "1m") == [minute(0, revision=2)]
    assert replica.stored_position == 8


async def test_the_oldest_are_dropped() -> None:
    """Beyond its limit it drops the oldest minutes, and says from which position on it has all changes."""
    replica = Replica(ID, 1_000)
    replica.take(events([minute(number) for number in range(1_001 + MINUTES_DROPPED)], 1))
    bars = await replica.bars("BTCUSDT", "1m", limit=10_000)

    assert len(bars) == 1_001
    assert bars[0] == minute(MINUTES_DROPPED)
    assert replica.oldest_position == MINUTES_DROPPED
    assert replica.begin_of("BTCUSDT") == bars[0].open_time
    assert len(await replica.changed_since(0, limit=10_000)) == 1_001


async def test_bar_without_its_beginning_is_left_out() -> None:
    """Where older minutes are gone, a longer bar that holds some of them is not made of the rest."""
    replica = Replica(ID, 1_000_000)
    replica.start_at(100)
    replica.take(events([minute(number) for number in range(57, 190)], 101))

    assert [bar.open_time for bar in await replica.bars("BTCUSDT", "1h")] == [
        START + 60 * MINUTE,
        START + 120 * MINUTE,
    ]
    changed = await replica.changed_since(100, (), ("1h",))
    assert [bar.open_time for _, bar in changed] == [START + 60 * MINUTE, START + 120 * MINUTE]


async def test_newest_events_fill_another_log() -> None:
    """The newest revision of each minute, oldest first, as closes."""
    replica = Replica(ID, 1_000_000)
    replica.take(events([minute(0), minute(1), minute(0, revision=1)], 1))

    assert [(event.kind, event.bar) for event in replica.newest_events()] == [
        (BarEventKind.CLOSE, minute(0, revision=1)),
        (BarEventKind.CLOSE, minute(1)),
    ]


@pytest.mark.parametrize("interval", ["3m", "1h", "1d", "1M"])
async def test_long_reads_are_merged_in_a_thread(interval: str) -> None:
    """A read of many minutes gives the same bars, made beside the event loop."""
    memory, replica = MemoryHistory(MemoryStore()), Replica(ID, 1_000_000)
    bars = events([minute(number) for number in range(2_500)], 1)
    await memory.store(bars)
    replica.take(bars)

    assert await replica.bars("BTCUSDT", interval) == await memory.bars("BTCUSDT", interval)
