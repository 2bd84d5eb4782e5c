"""The history as the daemon uses it: what is stored comes back, also after a restart."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from candled.config.settings import DaemonSettings
from candled.daemon.history_settings import history_settings
from candled.domain.bar import Bar, merge_bars
from candled.domain.event import BarEvent
from candled.domain.interval import INTERVALS, MINUTE
from candled.history import DurableHistory, HistorySettings, open_history
from tests.history.bars import START, events, minute

SETTINGS = HistorySettings(publish_delay=0.01, grace=0.0)
DAY = 1440


@pytest.fixture(autouse=True)
def _limit() -> None:
    """Every test has an absolute limit by pytest-timeout; those with tasks have their own."""


async def store(history: DurableHistory, bars: Sequence[Bar], position: int = 1) -> None:
    await history.store(events(bars, (history.epoch << 32) + position))


async def keep_all(history: DurableHistory) -> None:
    await history.publish()
    while await history.keep():
        pass


async def test_stored_bar_is_readable_before_publication(tmp_path: Path) -> None:
    async with open_history(tmp_path, exchange="x") as history:
        await store(history, [minute(0), minute(1)])
        assert [minute(0), minute(1)] == await history.bars("BTCUSDT", "1m")
        assert history.statistics().rows_unpublished == 2


async def test_newest_revision_wins_wherever_older_ones_are(tmp_path: Path) -> None:
    async with open_history(tmp_path, exchange="x", settings=SETTINGS) as history:
        await store(history, [minute(0), minute(1), minute(2 * DAY)])
        await keep_all(history)  # revision 0 of both is sealed
        await store(history, [minute(1, revision=1, salt=1)], 10)
        await history.publish()  # revision 1 is recent
        await store(history, [minute(1, revision=2, salt=2)], 11)  # revision 2 is in the journal
        assert [minute(0), minute(1, revision=2, salt=2)] == await history.bars("BTCUSDT", "1m", limit=2)


async def test_a_late_lower_revision_does_not_override(tmp_path: Path) -> None:
    async with open_history(tmp_path, exchange="x") as history:
        await store(history, [minute(0, revision=3, salt=1)])
        await store(history, [minute(0)], 2)
        assert [minute(0, revision=3, salt=1)] == await history.bars("BTCUSDT", "1m")


async def test_storing_twice_changes_nothing(tmp_path: Path) -> None:
    async with open_history(tmp_path, exchange="x", settings=SETTINGS) as history:
        for _ in range(3):
            await store(history, [minute(0), minute(1)])
            await history.publish()
        assert [minute(0), minute(1)] == await history.bars("BTCUSDT", "1m")


async def test_bars_survive_a_restart_at_every_stage(tmp_path: Path) -> None:
    bars = [minute(number) for number in range(3 * DAY)]
    for stage in range(4):
        async with open_history(tmp_path, exchange="x", settings=SETTINGS) as history:
            assert history.epoch == stage + 1
            if stage == 0:
                await store(history, bars)
            elif stage == 1:
                await history.publish()
            elif stage == 2:
                await keep_all(history)
            assert bars == await history.bars("BTCUSDT", "1m", limit=10_000)
            assert bars[-1] == (await history.newest_bars())["BTCUSDT"]


async def test_unpublished_bars_survive_a_crash(tmp_path: Path) -> None:
    async with open_history(tmp_path / "running", exchange="x") as history:
        await store(history, [minute(0), minute(1)])
        shutil.copytree(tmp_path / "running", tmp_path / "crashed")
    async with open_history(tmp_path / "crashed", exchange="x") as history:
        await store(history, [minute(2)])
        assert [minute(0), minute(1), minute(2)] == await history.bars("BTCUSDT", "1m")


async def test_sealed_rows_leave_the_journal(tmp_path: Path) -> None:
    async with open_history(tmp_path, exchange="x", settings=SETTINGS) as history:
        await store(history, [minute(number) for number in range(2 * DAY + 100)])
        await keep_all(history)
        assert history.statistics().journal_rows == 100
        assert history.statistics().sealed_files == 2
    async with open_history(tmp_path, exchange="x", settings=SETTINGS) as history:
        assert history.statistics().journal_rows == 100


async def test_sealing_waits_for_its_delay(tmp_path: Path) -> None:
    """A day is sealed once its delay has passed."""
    async with open_history(tmp_path, exchange="x", settings=SETTINGS) as history:
        await store(history, [minute(number) for number in range(DAY + 60)])
        await keep_all(history)
        assert history.statistics().sealed_files == 0
        await store(history, [minute(DAY + 60)], 5000)
        await keep_all(history)
        assert history.statistics().sealed_files == 1


async def test_retention_removes_whole_files(tmp_path: Path) -> None:
    kept_how = history_settings(DaemonSettings(retention_days=10, seal_delay=0.0))
    kept_how = attrs.evolve(kept_how, grace=0.0)
    days = range(0, 62, 2)  # January, February and the first of March
    async with open_history(tmp_path, exchange="x", settings=kept_how) as history:
        await store(history, [minute(day * DAY) for day in days])
        await keep_all(history)
        left = await history.bars("BTCUSDT", "1m")
        # February's file holds days that are due and days that are not: it stays.
        assert [minute(day * DAY) for day in days if day >= 31] == left
    async with open_history(tmp_path, exchange="x", settings=kept_how) as history:
        assert left == await history.bars("BTCUSDT", "1m")
        await store(history, [minute(2 * DAY)], 5000)  # an import of what is past it does not bring it back
        await keep_all(history)
        assert left == await history.bars("BTCUSDT", "1m")


async def test_sealed_days_are_joined_at_the_set_number(tmp_path: Path) -> None:
    kept_how = attrs.evolve(history_settings(DaemonSettings(compact_files=3, seal_delay=0.0)), grace=0.0)
    counts = []
    async with open_history(tmp_path, exchange="x", settings=kept_how) as history:
        for day in range(6):
            await store(history, [minute(day * DAY)], 10 * day)
            await keep_all(history)
            counts.append(history.statistics().sealed_files)
        assert counts == [0, 1, 2, 1, 2, 1]
        assert [minute(day * DAY) for day in range(6)] == await history.bars("BTCUSDT", "1m")


def test_settings_reach_the_history() -> None:
    assert HistorySettings() == history_settings(DaemonSettings())
    chosen = history_settings(
        DaemonSettings(retention_days=3, compact_files=4, seal_delay=5.0, publish_delay=6.0, superseded_grace=7.0)
    )
    assert (
        *(chosen.retention_days, chosen.compact_files),
        *(chosen.seal_delay, chosen.publish_delay, chosen.grace),
    ) == (3, 4, 5.0, 6.0, 7.0)


async def test_bars_are_paged_by_start_end_and_limit(tmp_path: Path) -> None:
    bars = [minute(number) for number in [0, 1, 2, 50_000, 50_001]]
    async with open_history(tmp_path, exchange="x") as history:
        await store(history, bars)
        assert bars == await history.bars("BTCUSDT", "1m", 0, 1 << 62, 10)
        assert bars[1:3] == await history.bars("BTCUSDT", "1m", START + MINUTE, START + 50_000 * MINUTE)
        assert bars[2:4] == await history.bars("BTCUSDT", "1m", START + MINUTE + 1, limit=2)
        assert await history.bars("BTCUSDT", "1m", START + 60_000 * MINUTE) == []
        assert await history.bars("ETHUSDT", "1m") == []


@pytest.mark.parametrize("end", [1, 3 * MINUTE, 5 * MINUTE])
async def test_longer_bar_across_the_end_is_whole(tmp_path: Path, end: int) -> None:
    first = INTERVALS["5m"].end(START)
    bars = [minute((first - START) // MINUTE + number) for number in range(10)]
    async with open_history(tmp_path, exchange="x") as history:
        await store(history, bars)
        (found,) = await history.bars("BTCUSDT", "5m", first, first + end)
    assert _but_closed(merge_bars(bars[:5], INTERVALS["5m"])) == _but_closed(found)


@pytest.mark.parametrize("interval", [name for name in INTERVALS if name not in ("1m", "1M")])
async def test_longer_bar_appears_when_its_end_is_known(tmp_path: Path, interval: str) -> None:
    rule = INTERVALS[interval]
    first = rule.floor(START)
    count = 2 * rule.minutes(first) - 1
    step = max(1, count // 500)
    offset = (first - START) // MINUTE
    bars = [minute(offset + number, complete=number != 3) for number in range(0, count, step)]
    last = minute(offset + count)
    async with open_history(tmp_path, exchange="x") as history:
        await store(history, bars)
        expected = merge_bars([bar for bar in bars if bar.open_time < rule.end(first)], rule)
        found = await history.bars("BTCUSDT", interval)
        assert [_but_closed(expected)] == [_but_closed(bar) for bar in found]
        await store(history, [last], 10_000)
        assert len(await history.bars("BTCUSDT", interval)) == 2


async def test_changes_since_a_position(tmp_path: Path) -> None:
    async with open_history(tmp_path, exchange="x", settings=SETTINGS) as history:
        base = history.epoch << 32
        await store(history, [minute(number) for number in range(10)])
        await store(history, [minute(2, revision=1, salt=1)], 11)
        assert [(base + 10, minute(9)), (base + 11, minute(2, revision=1, salt=1))] == await history.changed_since(
            base + 9
        )
        five = [bar.open_time for _, bar in await history.changed_since(base + 9, intervals=["5m"])]
        assert five == [START + 5 * MINUTE, START]


async def test_the_stored_position_counts_longer_bars_too(tmp_path: Path) -> None:
    async with open_history(tmp_path, exchange="x") as history:
        assert history.stored_position == history.epoch << 32
        hour = merge_bars([minute(number) for number in range(60)], INTERVALS["1h"])
        event: BarEvent = events([hour], (history.epoch << 32) + 5)[0]
        await history.store([event])
        assert history.stored_position == (history.epoch << 32) + 5
        assert await history.symbols() == []


async def test_a_forming_bar_is_never_stored(tmp_path: Path) -> None:
    bar = minute(0)
    forming = Bar(**{**{name: getattr(bar, name) for name in bar.__struct_fields__}, "closed": False})
    async with open_history(tmp_path, exchange="x") as history:
        with pytest.raises(ValueError, match="only closed bars"):
            await store(history, [forming])


async def test_incomplete_bars_are_found_for_the_repair(tmp_path: Path) -> None:
    async with open_history(tmp_path, exchange="x") as history:
        await store(history, [minute(0, complete=False), minute(1), minute(2, complete=False)])
        await store(history, [minute(2, revision=1)], 10)
        assert [minute(0, complete=False)] == await history.incomplete_bars("BTCUSDT")
        assert await history.incomplete_bars("BTCUSDT", START + MINUTE) == []


async def test_writer_drains_its_channel_before_it_ends(tmp_path: Path) -> None:
    bars = [minute(number) for number in range(50)]
    with trio.fail_after(50):
        async with open_history(tmp_path, exchange="x", settings=SETTINGS) as history:
            async with trio.open_nursery() as nursery:
                send, receive = trio.open_memory_channel[list[BarEvent]](100)
                await nursery.start(history.serve, receive)
                async with send:
                    for number, bar in enumerate(bars):
                        await send.send(events([bar], (history.epoch << 32) + number))
                    nursery.cancel_scope.cancel()
            assert bars == await history.bars("BTCUSDT", "1m")
            assert history.statistics().rows_unpublished == 0


async def test_cancelled_query_ends_soon(tmp_path: Path) -> None:
    """A cancelled query ends soon, and the history stays usable."""
    async with open_history(tmp_path, exchange="x") as history:
        await store(history, [minute(0)])
        with trio.move_on_after(0.0) as scope:
            await history.bars("BTCUSDT", "1m")
        assert scope.cancelled_caught
        assert [minute(0)] == await history.bars("BTCUSDT", "1m")


def _but_closed(bar: Bar) -> dict[str, object]:
    return {name: getattr(bar, name) for name in bar.__struct_fields__ if name != "closed"}


async def test_every_read_yields(tmp_path: Path) -> None:
    """A caller that reads in a loop lets other tasks run, even where there is nothing to read."""
    async with open_history(tmp_path, exchange="x") as history:
        await store(history, [minute(0)])
        for query in (
            ("NOBODY", "1m"),
            ("BTCUSDT", "1m", None, None, 0),
            ("BTCUSDT", "1m", START + DAY * MINUTE, None),
            ("BTCUSDT", "1M", 5, 5),
        ):
            with trio.testing.assert_checkpoints():
                assert await history.bars(*query) == []


@pytest.mark.parametrize("interval", ["1m", "1d", "1M"])
async def test_years_without_bars_are_skipped(tmp_path: Path, interval: str) -> None:
    """A read that spans years of absence finds the bars on both sides."""
    async with open_history(tmp_path, exchange="x") as history:
        await store(history, [minute(-10 * 366 * DAY), minute(0), minute(40 * DAY)])
        with trio.fail_after(30):
            bars = await history.bars("BTCUSDT", interval, 0, 1 << 62, 10)
    first = INTERVALS[interval].floor(minute(-10 * 366 * DAY).open_time)
    second = INTERVALS[interval].floor(minute(0).open_time)
    assert [bar.open_time for bar in bars][:2] == [first, second]
