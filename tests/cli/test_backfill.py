"""``candled backfill`` fills the past from the exchange's klines, once, and anyone can read it at once."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from candled.cli.main import main
from candled.config.settings import ExchangeSettings
from candled.domain.bar import Bar
from candled.domain.interval import MINUTE, ONE_MINUTE
from candled.domain.trade import Trade
from candled.embedded_exchange.server import serve
from candled.feed.binance.rest import BinanceRest, open_rest
from candled.feed.errors import SourceRefusedError
from candled.history import connect

WithExchange = Callable[[Callable[[str], None]], list[Bar]]


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def ago(first: int, last: int) -> tuple[str, ...]:
    """Options for the minutes between two ages."""
    now = datetime.now(UTC)
    since, until = (f"{now - timedelta(minutes=minutes):%Y-%m-%dT%H:%M}" for minutes in (first, last))
    return "--from", since, "--to", until


@pytest.fixture
def with_exchange() -> WithExchange:
    """Runs a function in a thread while an embedded exchange listens; gives its klines of the last hour."""

    def go(function: Callable[[str], None]) -> list[Bar]:
        async def all_of_it() -> list[Bar]:
            async with trio.open_nursery() as nursery:
                bound = await nursery.start(serve, ExchangeSettings(address="127.0.0.1:0"))
                with trio.fail_after(50):
                    await trio.to_thread.run_sync(function, bound.rest_url)
                    async with open_rest([bound.rest_url], 3000) as rest:
                        now = ONE_MINUTE.floor(await rest.server_time())
                        klines = (await rest.klines("BTCUSDT", now - 20 * MINUTE)).bars
                nursery.cancel_scope.cancel()
            return klines

        return trio.run(all_of_it)

    return go


def test_backfill_stores_proven_bars_once(
    with_exchange: WithExchange, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bars equal the klines and are complete; a second run changes nothing."""
    data_dir = str(tmp_path / "data")
    arguments = ("backfill", *ago(30, 3), "--symbols", "BTCUSDT", "--data-dir", data_dir)

    def twice(url: str) -> None:
        assert run(*arguments, "--rest-urls", url) == 0
        assert run(*arguments, "--rest-urls", url) == 0

    klines = {kline.open_time: kline for kline in with_exchange(twice)}
    assert capsys.readouterr().out.splitlines() == ["BTCUSDT: 27 bars stored.", "BTCUSDT: 0 bars stored."]
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


def test_a_span_without_minutes_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("backfill", "--from", "-5m", "--to", "-10m") == 2
    assert "at least a minute after --from" in capsys.readouterr().err


def test_backfill_without_an_exchange(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An exchange that cannot be reached is an error of one sentence."""
    assert run("backfill", "--rest-urls", "http://127.0.0.1:9", "--data-dir", str(tmp_path / "data")) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_symbol_that_is_not_there_leaves_others_filled(
    with_exchange: WithExchange, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is named with the nearest ones, the exit status is 1, and the bars of the others are stored."""
    data_dir = tmp_path / "data"

    def fill(url: str) -> None:
        common = ("backfill", *ago(9, 4), "--rest-urls", url, "--data-dir", str(data_dir))
        assert run(*common, "--symbols", "ETHUDST") == 1
        assert not data_dir.exists()
        assert run(*common, "--symbols", "BTCUSDT,ETHUDST") == 1

    with_exchange(fill)
    output = capsys.readouterr()
    assert output.out == "BTCUSDT: 5 bars stored.\n"
    first, second = output.err.splitlines()
    assert "ETHUDST (did you mean ETHUSDT" in first
    assert second.startswith("candled: The exchange does not have ETHUDST (did you mean ETHUSDT")
    assert second.endswith("): only the others were fetched.")


def test_refused_symbol_leaves_others_filled(
    with_exchange: WithExchange,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A symbol that is delisted while its bars are fetched does not keep the others from theirs."""
    newest = BinanceRest.newest

    async def refuse_one(self: BinanceRest, symbol: str) -> Trade | None:
        if symbol == "ETHUSDT":
            raise SourceRefusedError("Invalid symbol. (code -1121)")
        return await newest(self, symbol)

    monkeypatch.setattr(BinanceRest, "newest", refuse_one)

    def fill(url: str) -> None:
        common = ("backfill", *ago(9, 4), "--rest-urls", url)
        assert run(*common, "--symbols", "ETHUSDT,BTCUSDT", "--data-dir", str(tmp_path / "data")) == 1

    with_exchange(fill)
    output = capsys.readouterr()
    assert output.out.splitlines() == ["ETHUSDT: 0 bars stored.", "BTCUSDT: 5 bars stored."]
    assert output.err == "candled: The exchange refuses ETHUSDT: Invalid symbol. (code -1121).\n"


def test_awaiting_minutes_are_counted(
    with_exchange: WithExchange,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Minutes after the newest trade are not stored, and the output says how many they are."""
    newest = BinanceRest.newest

    async def silent_for_a_while(self: BinanceRest, symbol: str) -> Trade | None:
        trade = await newest(self, symbol)
        assert trade is not None
        return replace(trade, time=trade.time - 6 * MINUTE)

    monkeypatch.setattr(BinanceRest, "newest", silent_for_a_while)

    def fill(url: str) -> None:
        common = ("backfill", *ago(20, 1), "--rest-urls", url)
        assert run(*common, "--symbols", "BTCUSDT", "--data-dir", str(tmp_path / "data")) == 0

    with_exchange(fill)
    (line,) = capsys.readouterr().out.splitlines()
    stored, awaiting = (int(number) for number in re.findall(r"\b\d+\b", line))
    words = f"the last {awaiting} minutes await a later trade that proves them"
    assert line == f"BTCUSDT: {stored} bars stored; {words}."
    assert stored + awaiting == 19
    assert awaiting >= 4
