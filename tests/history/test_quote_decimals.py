"""A directory of an exchange that rounds no quote volume: sixteen decimals in every file and in every query."""

from decimal import Decimal
from pathlib import Path

import trio
from msgspec.structs import replace

from candled.domain.bar import Bar
from candled.domain.limits import EXACT_QUOTE_MAX, MINUTE_TRADES_MAX
from candled.domain.numbers import ONE, PRODUCT_DECIMALS
from candled.history import HistorySettings, connect, open_history
from candled.history.verify import verify
from tests.history.bars import events, minute

_SETTINGS = HistorySettings(grace=0.0, quote_decimals=PRODUCT_DECIMALS)
_FINE = 10**PRODUCT_DECIMALS // 3


def _exact(number: int) -> Bar:
    return replace(
        minute(number, trades=3),
        quote_volume=_FINE,
        taker_buy_quote_volume=_FINE // 7,
        quote_decimals=PRODUCT_DECIMALS,
    )


def test_every_file_keeps_sixteen_decimals(tmp_path: Path) -> None:
    """Journal, recent file, sealed file and a start from them all give the same number back."""
    bars = [_exact(number) for number in range(3 * 1440)]

    async def main() -> None:
        async with open_history(tmp_path, exchange="x", settings=_SETTINGS) as history:
            await history.store(events(bars[:-1], history.epoch << 32))
            await history.publish()
            while await history.keep():
                pass
            await history.store(events(bars[-1:], (history.epoch << 32) + 10_000))
        async with open_history(tmp_path, exchange="x", settings=_SETTINGS) as history:
            assert await history.bars("BTCUSDT", "1m", limit=5_000) == bars
            hours = await history.bars("BTCUSDT", "1h", limit=2)
            assert [(hour.quote_volume, hour.quote_decimals) for hour in hours] == [
                (60 * _FINE, PRODUCT_DECIMALS)
            ] * 2

    trio.run(main)
    with connect(tmp_path) as connection:
        query = (
            "SELECT quote_volume, typeof(quote_volume) FROM bars WHERE interval = '1d' ORDER BY open_time LIMIT 1"
        )
        (found,) = connection.execute(query).fetchall()
    assert found == (Decimal(1440 * _FINE).scaleb(-PRODUCT_DECIMALS), "DECIMAL(38,16)")
    assert [finding.kind.value for finding in verify(tmp_path) if finding.kind.value == "damaged file"] == []


def test_largest_minutes_are_added_up(tmp_path: Path) -> None:
    """A month's bar of the largest minutes that the domain lets in does not overflow."""
    largest = EXACT_QUOTE_MAX // ONE * MINUTE_TRADES_MAX * 10**PRODUCT_DECIMALS
    bars = [replace(_exact(number), quote_volume=largest) for number in range(120)]

    async def main() -> None:
        async with open_history(tmp_path, exchange="x", settings=_SETTINGS) as history:
            await history.store(events(bars, history.epoch << 32))
            (hour, _) = await history.bars("BTCUSDT", "1h", limit=2)
            assert hour.quote_volume == 60 * largest

    trio.run(main)


def test_empty_directory_can_be_read(tmp_path: Path) -> None:
    """The files that stand for no rows have the columns of those with rows."""

    async def main() -> None:
        async with open_history(tmp_path, exchange="x", settings=_SETTINGS) as history:
            assert await history.bars("BTCUSDT", "1m", limit=5) == []

    trio.run(main)
    with connect(tmp_path) as connection:
        assert connection.execute("SELECT count(*) FROM bars").fetchone() == (0,)
