"""The HTTP port over real sockets: health, readiness with reasons, metrics, and a port in use."""

import socket
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
import trio
from prometheus_client.registry import Collector

from candled.daemon.metrics.bars import STATUS_METRICS
from candled.domain.status import DaemonStatus, Gap, GapState, SymbolStatus
from candled.errors import UserError
from candled.stream.web.server import serve_http
from candled.telemetry.table import TableCollector
from tests.web.stand import Stand


async def get(
    nursery: trio.Nursery,
    path: str,
    *,
    reasons: Sequence[str] = (),
    collectors: Sequence[Collector] = (),
    headers: Any = None,
) -> httpx.Response:
    with trio.fail_after(10):
        address = await nursery.start(
            lambda task_status: serve_http(
                "127.0.0.1:0", not_ready_reasons=lambda: reasons, collectors=collectors, task_status=task_status
            )
        )
    async with httpx.AsyncClient(timeout=10) as client:
        answer = await client.get(f"http://{address}{path}", headers=headers)
    nursery.cancel_scope.cancel()
    return answer


async def test_healthz_says_alive(nursery: trio.Nursery) -> None:
    answer = await get(nursery, "/healthz")
    assert (answer.status_code, answer.text) == (200, "alive\n")


async def test_readyz_says_ready(nursery: trio.Nursery) -> None:
    answer = await get(nursery, "/readyz")
    assert (answer.status_code, answer.text) == (200, "ready\n")


async def test_readyz_has_a_line_per_reason(nursery: trio.Nursery) -> None:
    """While it is not ready, ``/readyz`` has a line for each reason."""
    answer = await get(nursery, "/readyz", reasons=("BTCUSDT is not live.", "The disk is full."))
    assert (answer.status_code, answer.text) == (503, "BTCUSDT is not live.\nThe disk is full.\n")


STATUS = DaemonStatus(
    version="1.2.3",
    start_time=1_000_000,
    exchange="test",
    exchange_time=2_500_000,
    symbols=(
        SymbolStatus(
            symbol="BTCUSDT",
            trading_status="TRADING",
            live=True,
            trades=12,
            lag_ms=250,
            gaps=(Gap(5, 9, GapState.OPEN, ""), Gap(20, 20, GapState.UNFILLABLE, "")),
        ),
    ),
)


async def test_metrics_are_read_at_the_scrape(nursery: trio.Nursery) -> None:
    """Metrics are read at the moment of the scrape."""
    answer = await get(nursery, "/metrics", collectors=[TableCollector(STATUS_METRICS, lambda: STATUS)])
    lines = answer.text.splitlines()
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'candled_build_info{exchange="test",version="1.2.3"} 1.0' in lines
    assert 'candled_trades_total{symbol="BTCUSDT"} 12.0' in lines
    assert 'candled_feed_lag_seconds{symbol="BTCUSDT"} 0.25' in lines
    assert 'candled_gaps_open{symbol="BTCUSDT"} 1.0' in lines
    assert 'candled_trades_missing{symbol="BTCUSDT"} 6.0' in lines
    assert "candled_exchange_time_seconds 2.5" in lines


async def test_openmetrics_on_request(nursery: trio.Nursery) -> None:
    """Metrics come in the OpenMetrics format when it is requested."""
    answer = await get(
        nursery,
        "/metrics",
        collectors=[TableCollector(STATUS_METRICS, lambda: STATUS)],
        headers={"Accept": "application/openmetrics-text; version=1.0.0"},
    )
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


@pytest.mark.parametrize(
    "accepted",
    [
        "application/openmetrics-text; version=x.y",
        "application/openmetrics-text; version=" + "1." * 3000,
        b"application/openmetrics-text; version=1.0.0\xc3\xa9",
        "text/plain; version=9-9; escaping=\x7f",
        "," * 9000,
    ],
    ids=lambda value: str(value[:40]),
)
async def test_any_accept_header_gets_metrics(nursery: trio.Nursery, accepted: str | bytes) -> None:
    """What a client accepts may be any text: it gets one of the two forms, and nothing of its text back."""
    answer = await get(
        nursery,
        "/metrics",
        collectors=[TableCollector(STATUS_METRICS, lambda: STATUS)],
        headers={"Accept": accepted},
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"] in {
        "text/plain; version=0.0.4; charset=utf-8",
        "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores",
    }


@pytest.mark.parametrize("path", ["/", "/healthz", "/api/stream", "/chart.js"])
async def test_websockets_are_refused(path: str) -> None:
    """A request to speak websocket is answered with 403 on every path."""
    with trio.fail_after(10):
        async with Stand().serving() as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
            answer = await client.get(
                path,
                headers={
                    "Connection": "Upgrade",
                    "Upgrade": "websocket",
                    "Sec-WebSocket-Version": "13",
                    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
                },
            )
            assert answer.status_code == 403


async def test_a_port_in_use_is_one_sentence() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(UserError, match=f"http_address {address} is in use: .*--http-address"):
            with trio.fail_after(10):
                await serve_http(address, not_ready_reasons=tuple)


async def test_an_address_of_another_machine_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"http_address 192\.0\.2\.1:80 cannot be listened on"):
        with trio.fail_after(10):
            await serve_http("192.0.2.1:80", not_ready_reasons=tuple)
