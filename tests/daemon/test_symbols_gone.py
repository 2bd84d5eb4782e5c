"""Symbols that the exchange does not have at a start: stored ones stay, the others are mistakes."""

from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import httpcore
import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from candled.config.settings import DaemonSettings
from candled.daemon.roles import RoleContext
from candled.daemon.root import serve_daemon
from candled.domain.event import positions_of
from candled.domain.interval import MINUTE
from candled.embedded_exchange.memory import open_memory_exchange
from candled.feed.adapter import DELISTED, ExchangeDescription, Instrument
from candled.feed.errors import UnknownSymbolError
from candled.feed.instruments import keep_unlisted
from candled.history import open_history
from candled.history.memory import MemoryStore
from tests.history.bars import events, minute
from tests.loopback import loopback_settings, open_loopback_exchange
from tests.memory_daemon import START, SYMBOLS, captured_logs, make_exchange, open_memory_daemon

if TYPE_CHECKING:
    from candled.daemon.roles import Addresses

TIMEOUT = 30
GONE = "the exchange does not have this symbol any more: take it out of the settings, or its new name in"


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


async def test_delisted_symbol_leaves_others_served(autojump_clock: MockClock) -> None:
    """After a restart without one of three symbols, the others continue whole and the lost one is named."""
    store = MemoryStore()
    async with open_memory_exchange(make_exchange()) as network:
        async with open_memory_daemon(network, store) as daemon:
            await daemon.closes(3)
        network.exchange.command("delist:ETHUSDT")
        with captured_logs() as logs:
            async with open_memory_daemon(network, store) as daemon:
                kept = len(daemon.bars("ETHUSDT"))
                assert daemon.status("ETHUSDT").trading_status == DELISTED
                await daemon.closes(5, ("BTCUSDT", "PEPEUSDT"))
                await daemon.is_whole(("BTCUSDT", "PEPEUSDT"))
                assert len(daemon.bars("ETHUSDT")) == kept
                assert daemon.readiness.not_ready_reasons() == ()
                assert daemon.pipeline.repairer.counts.failures == 0, "what is gone is not asked for"
        (line,) = [line for line in logs if line["log_level"] == "error"]
        assert (line["event"], line["symbol"]) == (GONE, "ETHUSDT")
        assert [line["event"] for line in logs if line["log_level"] == "warning"] == []


async def test_delisted_symbol_comes_back(autojump_clock: MockClock) -> None:
    """A symbol that was gone at the start is served, without a restart, once the exchange has it again."""
    store = MemoryStore()
    async with open_memory_exchange(make_exchange()) as network:
        async with open_memory_daemon(network, store) as daemon:
            await daemon.closes(3)
        network.exchange.command("delist:ETHUSDT")
        async with open_memory_daemon(network, store) as daemon:
            await daemon.closes(5, ("BTCUSDT", "PEPEUSDT"))
            network.exchange.command("delist:ETHUSDT=off")
            await daemon.until(lambda: daemon.status("ETHUSDT").trading_status == "TRADING")
            await daemon.closes(3, ("ETHUSDT",))
            await daemon.is_whole()


async def test_all_symbols_may_be_gone(autojump_clock: MockClock) -> None:
    """Even then the daemon serves what is stored."""
    store = MemoryStore()
    async with open_memory_exchange(make_exchange()) as network:
        async with open_memory_daemon(network, store) as daemon:
            await daemon.closes(2)
        network.exchange.command(",".join(f"delist:{symbol}" for symbol in SYMBOLS))
        async with open_memory_daemon(network, store) as daemon:
            await trio.sleep(600)
            assert {daemon.status(symbol).trading_status for symbol in SYMBOLS} == {DELISTED}
            assert all(daemon.bars(symbol) for symbol in SYMBOLS)


def test_never_stored_symbol_is_a_mistake() -> None:
    """The nearest names that there are are said, of each symbol that is not there."""
    known = ExchangeDescription("x", {"BTCUSDT": Instrument("BTCUSDT", "TRADING", 2, 5)}, ["BTCUSDT", "ETHUSDT"])
    with pytest.raises(UnknownSymbolError, match=r"symbol ETHUDST \(did you mean ETHUSDT.*, QQQ\.$"):
        keep_unlisted(known, ["BTCUSDT", "ETHUDST", "QQQ", "OLDUSDT"], {"OLDUSDT"})


def test_stored_symbols_are_kept() -> None:
    """One that is gone counts as the finest, so that no sum of its aggregates is taken as exact."""
    known = ExchangeDescription("x", {"BTCUSDT": Instrument("BTCUSDT", "TRADING", 2, 5)})
    kept = keep_unlisted(known, ["BTCUSDT", "OLDUSDT"], {"OLDUSDT"})
    assert kept.instruments["BTCUSDT"] is known.instruments["BTCUSDT"]
    assert (kept.instruments["OLDUSDT"].status, kept.instruments["OLDUSDT"].aggregates_are_exact) == (
        DELISTED,
        False,
    )


async def serve(settings: DaemonSettings) -> None:
    """Run the daemon, as ``candled run`` does, until it is ready; an error ends it."""
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        addresses: Addresses = await nursery.start(serve_daemon, RoleContext(settings, stop))
        async with httpcore.AsyncConnectionPool() as pool:
            while (await pool.request("GET", f"http://{addresses.http}/readyz")).status != 200:
                await trio.sleep(0.05)
        stop.set()


async def test_daemon_starts_without_stored_symbol(tmp_path: Path) -> None:
    """A process on a disk starts and is ready; the same settings on an empty disk are refused, with a hint."""
    exchange = make_exchange()
    with trio.fail_after(TIMEOUT):
        async with open_loopback_exchange(exchange) as bound:
            settings = attrs.evolve(loopback_settings(tmp_path, bound), symbols=("BTCUSDT", "ETHUSDC"))
            identity = f"candled-embedded {exchange.ledger.market.identity}"
            async with open_history(settings.data_dir, exchange=identity) as history:
                bar = replace(minute(0, "ETHUSDC"), open_time=START - 10 * MINUTE, close_time=START - 9 * MINUTE)
                await history.store(events([bar], positions_of(history.epoch)()))
            await serve(settings)
            empty = tmp_path / "new"
            with pytest.RaisesGroup(
                pytest.RaisesExc(UnknownSymbolError, match="ETHUSDC \\(did you mean ETHUSDT"),
                flatten_subgroups=True,
            ):
                await serve(attrs.evolve(settings, data_dir=empty))
            assert not empty.exists()
