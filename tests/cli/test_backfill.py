"""``candled backfill`` fills the past from the exchange's klines, once, and anyone can read it at once."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio

from candled.cli.main import main
from candled.domain.interval import MINUTE, ONE_MINUTE
from candled.exchange.server import serve
from candled.feed.binance.rest import open_rest
from candled.history import connect
from candled.settings import ExchangeSettings


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


@pytest.fixture
def with_exchange() -> Callable[[Callable[[str], None]], list]:
    """Runs a function in a thread while an embedded exchange listens; gives its klines of the last hour."""

    def go(function: Callable[[str], None]) -> list:
        async def all_of_it() -> list:
            async with trio.open_nursery() as nursery:
                bound = await nursery.start(serve, ExchangeSettings(address="127.0.0.1:0"))
                with trio.fail_after(50):
                    await trio.to_thread.run_sync(function, bound.rest_url)
                    async with open_rest([bound.rest_url], 3000) as rest:
                        now = ONE_MINUTE.floor(await rest.server_time())
                        klines = await rest.klines("PEPEUSDT", now - 20 * MINUTE)
                nursery.cancel_scope.cancel()
            return klines

        return trio.run(all_of_it)

    return go


def test_it_stores_proven_bars_that_equal_the_klines_and_does_so_once(
    with_exchange, tmp_path: Path, capsys
) -> None:
    now = datetime.now(UTC)
    since, until = (f"{now - timedelta(minutes=ago):%Y-%m-%dT%H:%M}" for ago in (30, 3))
    data_dir = str(tmp_path / "data")
    arguments = ("backfill", "--from", since, "--to", until, "--symbols", "PEPEUSDT", "--data-dir", data_dir)

    def twice(url: str) -> None:
        assert run(*arguments, "--rest-urls", url) == 0
        assert run(*arguments, "--rest-urls", url) == 0

    klines = {kline.open_time: kline for kline in with_exchange(twice)}
    assert capsys.readouterr().out.splitlines() == ["PEPEUSDT: 27 bars stored.", "PEPEUSDT: 0 bars stored."]
    with connect(tmp_path / "data") as history:
        rows = history.execute(
            "SELECT epoch_us(open_time), open::VARCHAR, volume::VARCHAR, trade_count, complete FROM bars "
            "WHERE interval = '1m' ORDER BY 1"
        ).fetchall()
    assert all(complete for *_, complete in rows)
    assert [time for time, *_ in rows] == list(range(rows[0][0], rows[-1][0] + 1, MINUTE))
    compared = [row for row in rows if row[0] in klines]
    assert compared
    for time, opened, volume, count, _ in compared:
        kline = klines[time]
        assert (kline.open, kline.volume, kline.trade_count) == (
            int(opened.replace(".", "")),
            int(volume.replace(".", "")),
            count,
        )


def test_a_span_without_minutes_is_refused(capsys) -> None:
    assert run("backfill", "--from", "-5m", "--to", "-10m") == 2
    assert "nothing lies between" in capsys.readouterr().err


def test_an_exchange_that_is_not_there_is_one_sentence(tmp_path: Path, capsys) -> None:
    assert run("backfill", "--rest-urls", "http://127.0.0.1:9", "--data-dir", str(tmp_path / "data")) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "data").exists()
