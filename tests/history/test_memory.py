"""The stand-in for simulations keeps the same promises as the history on disk."""

from pathlib import Path

import pytest

from candled.domain.interval import INTERVALS
from candled.history import DurableHistory, MemoryHistory, MemoryStore, open_history, open_memory_history
from tests.history.bars import START, events, minute

BARS = [
    *(minute(number, trades=number % 4, complete=number % 7 != 0) for number in range(300)),
    *(minute(number, "ETHUSDT") for number in (0, 7, 500)),
    *(minute(number, revision=1, salt=3) for number in (3, 4, 59)),
    minute(5),
]


async def observe(history: DurableHistory | MemoryHistory) -> list[object]:
    base = history.epoch << 32
    await history.store(events(BARS, base + 1))
    seen: list[object] = [await history.newest_bars(), await history.symbols(), history.stored_position]
    for symbol in ("BTCUSDT", "ETHUSDT", "NONE"):
        seen += [await history.bars(symbol, name, START + 60_000_000, limit=40) for name in INTERVALS]
        seen.append(await history.incomplete_bars(symbol, START))
    for intervals in (["1m"], ["5m"], ["1h"], ["1M"]):
        seen.append(await history.changed_since(base + 250, intervals=intervals, limit=10_000))
        seen.append(await history.changed_since(base + 299, ["BTCUSDT"], intervals))
    return seen


async def test_memory_equals_disk(tmp_path: Path) -> None:
    """Every query gives the same in memory as on disk."""
    async with open_history(tmp_path, exchange="x") as durable, open_memory_history() as memory:
        for on_disk, in_memory in zip(await observe(durable), await observe(memory), strict=True):
            assert on_disk == in_memory


async def test_next_minute_closes_a_short_bar(tmp_path: Path) -> None:
    """A bar whose last minute is missing changed when the next minute closed it."""
    async with open_history(tmp_path, exchange="x") as durable, open_memory_history() as memory:
        for history in (durable, memory):
            base = history.epoch << 32
            await history.store(events([minute(0), minute(1), minute(301)], base + 1))
            changed = await history.changed_since(base + 2, intervals=["5m", "4h"])
            assert [(position - base, bar.interval, bar.open_time) for position, bar in changed] == [
                (3, "5m", START),
                (3, "4h", START),
            ]


async def test_store_object_survives_a_restart() -> None:
    """The next history over the same store has its bars, and a higher epoch."""
    store = MemoryStore()
    async with open_memory_history(store) as history:
        await history.store(events([minute(0)], 1))
    async with open_memory_history(store) as history:
        assert history.epoch == 2
        assert [minute(0)] == await history.bars("BTCUSDT", "1m")


async def test_unknown_interval_is_refused() -> None:
    """An unknown interval is an error."""
    async with open_memory_history() as history:
        with pytest.raises(ValueError, match="unknown interval"):
            await history.bars("BTCUSDT", "7m")
