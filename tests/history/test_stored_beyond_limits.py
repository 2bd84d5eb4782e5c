"""A directory with rows beyond the limits, from before these were checked, starts and answers all the same."""

from itertools import count
from pathlib import Path

import pytest
from msgspec.structs import replace

from candled.config.settings import DaemonSettings
from candled.daemon.restore import restore
from candled.domain.bar import Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.interval import MINUTE
from candled.history import open_history
from tests.history.bars import START

YEAR_3000 = 32_503_680_000_000_000


def largest(open_time: int) -> Bar:
    """A minute in which every column holds the most that it can."""
    ids = (2**63 - 2, 2**63 - 1, 2**63 - 3)
    return Bar(
        *("BTCUSDT", "1m", open_time, open_time + MINUTE),
        *(10**18 - 1, 10**18 - 1, 0, 10**18 - 1),
        *(10**28 - 1, 10**38 - 1, 2**63 - 1, 10**28 - 1, 10**38 - 1),
        *ids,
        closed=True,
    )


def usual(open_time: int) -> Bar:
    values = {"open": 5, "high": 5, "low": 5, "close": 5, "volume": 7, "quote_volume": 3, "trade_count": 2}
    parts = {"taker_buy_volume": 1, "taker_buy_quote_volume": 1}
    return replace(largest(open_time), **values, **parts, complete=True)


@pytest.mark.parametrize("newest", [START + 5 * MINUTE, YEAR_3000])
async def test_history_beyond_limits_is_served(newest: int, tmp_path: Path) -> None:
    """Longer bars lack those minutes and are not complete; no sum overflows, before sealing and after it."""
    minutes = [largest(START), largest(START + MINUTE), *(usual(START + number * MINUTE) for number in (2, 3, 4))]
    async with open_history(tmp_path, exchange="x") as history:
        events = [
            BarEvent(BarEventKind.CLOSE, bar, bar.close_time, (history.epoch << 32) + number)
            for number, bar in enumerate([*minutes, largest(newest)], start=1)
        ]
        await history.store(events)
    for _ in range(2):
        async with open_history(tmp_path, exchange="x") as history:
            engine = await restore(DaemonSettings(symbols=("BTCUSDT",)), history, count(1).__next__)
            assert engine.symbols["BTCUSDT"].next_end is not None
            stored = await history.bars("BTCUSDT", "1m", START, START + 5 * MINUTE, 10)
            assert stored == minutes
            (longer,) = await history.bars("BTCUSDT", "5m", START, START + 5 * MINUTE, 10)
            assert (longer.volume, longer.trade_count, longer.complete) == (21, 6, False)
            while await history.keep():
                pass
