"""What an edge says of itself and of the ingesters that report to it."""

from types import SimpleNamespace
from typing import Any

import trio

from candled.api import candles_pb2 as pb
from candled.bus.roster import FRESH_SECONDS, IngesterStatus, Roster
from candled.client.decode import decode_status
from candled.client.model import Ingester
from candled.daemon.edge_status import EdgeStatus
from candled.domain.status import DaemonStatus, SymbolStatus
from candled.stream.grpc.encoder import encode_status
from candled.stream.web.forms import status_form


def report(process: str, rank: int, *reasons: str, symbol: str = "BTCUSDT") -> IngesterStatus:
    """An ingester of one symbol, live unless it says why not."""
    symbols = (SymbolStatus(symbol=symbol, trading_status="TRADING", live=not reasons),)
    status = DaemonStatus(
        version="1",
        start_time=0,
        exchange="x",
        exchange_time=5_000_000,
        symbols=symbols,
        not_ready_reasons=reasons,
        process=process,
    )
    return IngesterStatus(f"{process}-5f3a", rank, (symbol,), status)


def serving(*reports: IngesterStatus) -> tuple[EdgeStatus, Roster]:
    """An edge that has heard these reports."""
    nats: Any = SimpleNamespace(is_connected=True, failure="")
    roster = Roster()
    for each in reports:
        roster.record(each, trio.current_time())
    parts: Any = SimpleNamespace(bus=SimpleNamespace(roster=roster), exchange="x")
    status = EdgeStatus(nats, "edge-1")
    statistics: Any = SimpleNamespace
    status.serve(parts, statistics)
    return status, roster


async def test_an_edge_names_itself_and_its_ingesters() -> None:
    """Clients learn which process answered and which report to it, by rank; notices have the processes' names."""
    edge, _ = serving(report("ingest-1", 1, "No stream is connected."), report("ingest-0", 0))
    answer = pb.GetStatusResponse.FromString(encode_status(edge.status(), 3))
    status = decode_status(answer)

    assert status.process == "edge-1"
    assert status.ingesters == (
        Ingester(name="ingest-0", rank=0, ready=True, symbols=1),
        Ingester(name="ingest-1", rank=1, ready=False, symbols=1),
    )
    assert status.notices == ("ingest-1: No stream is connected.",)
    assert status_form(edge.status())["process"] == "edge-1"


async def test_a_symbol_without_ingesters_is_named(autojump_clock: object) -> None:
    """The edge is not ready, and says which symbol nobody reads; its last state is still shown, as not live."""
    edge, roster = serving(report("ingest-0", 0))
    assert edge.not_ready_reasons() == ()
    await trio.sleep(FRESH_SECONDS)
    roster.record(report("ingest-9", 0, symbol="ETHUSDT"), trio.current_time())

    assert edge.not_ready_reasons() == ("No ingester reads BTCUSDT from the exchange.",)
    assert {each.symbol: each.live for each in edge.status().symbols} == {"BTCUSDT": False, "ETHUSDT": True}
    assert [each.name for each in edge.status().ingesters] == ["ingest-9"]


def test_a_daemon_alone_says_nothing_of_processes() -> None:
    """Its answers are as they were before there were several."""
    status = DaemonStatus(version="1", start_time=0, exchange="x", exchange_time=0)

    assert "process" not in status_form(status)
    assert pb.GetStatusResponse.FromString(encode_status(status, 0)).ingesters == []
