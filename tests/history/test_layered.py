"""Bars of which memory has the newer minutes and a stored history the older ones: as if one had them all."""

from collections.abc import Sequence

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candled.domain.bar import Bar
from candled.domain.interval import Interval
from candled.domain.limits import TIME_MAX, TIME_MIN
from candled.domain.storage import BarsUnavailableError
from candled.history import MemoryHistory, MemoryStore
from candled.history.layered import LayeredBars
from candled.history.replica import Replica
from tests.history.bars import START, events, minute

ID = "0123456789abcdef"
MINUTE = 60_000_000


@attrs.define
class Older:
    """A stored history in memory, which can be away."""

    history: MemoryHistory
    is_away: bool = False

    async def bars(
        self, symbol: str, rule: Interval, start: int, end: int, limit: int, known_until: int | None = None
    ) -> list[Bar]:
        if self.is_away:
            raise BarsUnavailableError("The test says so.")
        found = await self.history.bars(symbol, rule.name, start, end, limit)
        return [bar for bar in found if known_until is None or bar.close_time <= known_until]


async def layered(bars: Sequence[Bar], first: int) -> tuple[LayeredBars, Older]:
    """The bars from the ``first``-th minute on in memory; all of them are stored."""
    store = MemoryHistory(MemoryStore())
    await store.store(events(bars, 1))
    replica = Replica(ID, 100_000)
    replica.start_at(1000)
    replica.take(events([bar for bar in bars if bar.open_time >= START + first * MINUTE], 1001))
    older = Older(store)
    return LayeredBars(replica, older), older


@given(
    numbers=st.sets(st.integers(0, 40), min_size=1).map(sorted),
    first=st.integers(0, 45),
    interval=st.sampled_from(["1m", "3m", "5m", "15m", "30m"]),
    start=st.none() | st.integers(-1, 41),
    end=st.none() | st.integers(0, 45),
    limit=st.integers(1, 50),
)
async def test_answers_are_those_of_one_history(
    numbers: list[int], first: int, interval: str, start: int | None, end: int | None, limit: int
) -> None:
    """Wherever memory begins: in the middle of a longer bar, before a hole, or nowhere."""
    bars = [minute(number) for number in numbers]
    whole = MemoryHistory(MemoryStore())
    await whole.store(events(bars, 1))
    both, _ = await layered(bars, first)
    low, high = (None if time is None else START + time * MINUTE for time in (start, end))
    assert await both.bars("BTCUSDT", interval, low, high, limit) == await whole.bars(
        "BTCUSDT", interval, low, high, limit
    )


async def test_memory_has_the_newer_revision() -> None:
    """The log's bar counts from memory's first minute on, also within a longer bar."""
    both, _ = await layered([minute(number) for number in range(10)], 7)
    both.replica.take(events([minute(8, revision=1, salt=1)], 2000))
    found = await both.bars("BTCUSDT", "5m")
    assert [bar.revision for bar in found] == [0, 1]
    assert (await both.bars("BTCUSDT", "1m", START + 8 * MINUTE))[0].revision == 1


async def test_live_bars_need_no_store() -> None:
    """While it is away: a question without a beginning ends at what memory has, one for older bars is refused."""
    both, older = await layered([minute(number) for number in range(20)], 12)
    older.is_away = True
    assert [bar.open_time for bar in await both.bars("BTCUSDT", "5m")] == [START + 15 * MINUTE]
    assert len(await both.bars("BTCUSDT", "1m", START + 12 * MINUTE, TIME_MAX)) == 8
    with pytest.raises(BarsUnavailableError):
        await both.bars("BTCUSDT", "1m", START + 11 * MINUTE, TIME_MAX)
    with pytest.raises(BarsUnavailableError):
        await both.bars("BTCUSDT", "1m", TIME_MIN, START + 12 * MINUTE)


async def test_symbols_that_left_the_log_are_found() -> None:
    both, _ = await layered([minute(number) for number in range(10)], 100)
    assert len(await both.bars("BTCUSDT", "1m")) == 10
