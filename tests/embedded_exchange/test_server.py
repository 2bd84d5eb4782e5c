"""The exchange over real sockets: one port for streams and REST."""

import functools
import json
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from trio_websocket import open_websocket_url

from candled.config.settings import ExchangeSettings
from candled.embedded_exchange.core import Limits
from candled.embedded_exchange.server import BoundExchange, serve
from candled.errors import UserError
from tests.embedded_exchange.worlds import UPGRADE
from tests.recordings import recordings


def settings(**changes: Any) -> ExchangeSettings:
    return ExchangeSettings(**{"address": "127.0.0.1:0", **changes})


async def start(nursery: trio.Nursery, **changes: Any) -> BoundExchange:
    bound: BoundExchange = await nursery.start(serve, settings(**changes))
    return bound


async def test_streams_and_rest_share_a_port() -> None:
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            bound = await start(nursery, speed=100)
            assert str(bound) == f"127.0.0.1:{bound.port}"
            async with httpx.AsyncClient(base_url=bound.rest_url) as rest:
                assert (await rest.get("/api/v3/ping")).json() == {}
                async with open_websocket_url(f"{bound.stream_url}/ws/btcusdt@trade") as client:
                    message = json.loads(await client.get_message())
                    row = await rest.get(
                        "/api/v3/historicalTrades",
                        params={"symbol": "BTCUSDT", "fromId": message["t"], "limit": 1},
                    )
                    assert row.json()[0]["price"] == message["p"]
            nursery.cancel_scope.cancel()


async def test_speed_one_is_the_wall_clock() -> None:
    """At speed 1 exchange time is the wall clock."""
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            bound = await start(nursery)
            async with httpx.AsyncClient(base_url=bound.rest_url) as rest:
                server_time = (await rest.get("/api/v3/time")).json()["serverTime"]
                assert abs(server_time / 1000 - time.time()) < 2
            nursery.cancel_scope.cancel()


async def test_epoch_keeps_time_over_a_restart() -> None:
    with trio.fail_after(10):
        times = []
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                bound = await start(nursery, speed=10, epoch="2026-01-01T00:00:00Z")
                async with httpx.AsyncClient(base_url=bound.rest_url) as rest:
                    times.append((await rest.get("/api/v3/time")).json()["serverTime"])
                nursery.cancel_scope.cancel()
        epoch = 1767225600
        assert times[0] / 1000 == pytest.approx(epoch + (time.time() - epoch) * 10, abs=60)
        assert 0 < times[1] - times[0] < 60_000


async def test_a_replay_at_very_high_speed_loses_nothing() -> None:
    recording = recordings() / "spot_BTCUSDT_aggTrades_20200102T151023-151839.json"
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            bound = await start(nursery, replay=recording, speed=1_000_000)
            async with open_websocket_url(f"{bound.stream_url}/ws/btcusdt@trade") as client:
                first = json.loads(await client.get_message())["t"]
                last = first
                recorded = [row for row in json.loads(recording.read_text()) if row["T"] < 1577978280000]
                while last < recorded[-1]["l"]:
                    message = json.loads(await client.get_message())
                    assert message["t"] == last + 1
                    last = message["t"]
            nursery.cancel_scope.cancel()


async def test_replay_begins_on_command() -> None:
    recording = recordings() / "spot_BTCUSDT_aggTrades_20200102T151023-151839.json"
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            bound = await start(nursery, replay=recording, replay_begin="command", speed=100)
            async with (
                httpx.AsyncClient(base_url=bound.rest_url) as rest,
                open_websocket_url(f"{bound.stream_url}/ws/btcusdt@trade") as client,
            ):
                with trio.move_on_after(0.3) as waited:
                    await client.get_message()
                assert waited.cancelled_caught
                assert (await rest.post("/replay/start")).json()["running"]
                await client.get_message()
            nursery.cancel_scope.cancel()


async def test_limits_can_be_set() -> None:
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            bound = await start(nursery, weight_limit=30, attempt_limit=1)
            async with httpx.AsyncClient(base_url=bound.rest_url) as rest:
                answers = [await rest.get("/api/v3/trades?symbol=BTCUSDT&limit=1") for _ in range(2)]
                assert [answer.status_code for answer in answers] == [200, 429]
            assert bound.exchange.admit("somebody")
            assert not bound.exchange.admit("somebody")
            nursery.cancel_scope.cancel()


async def test_client_that_never_reads_is_cut() -> None:
    limits = Limits(ping_interval_s=0.2, pong_timeout_s=0.5)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            started = functools.partial(serve, limits=limits)
            bound = await nursery.start(started, settings(rate=1000, speed=1000))
            stream = await trio.open_tcp_stream(bound.host, bound.port)
            await stream.send_all(UPGRADE.replace(b"/ws", b"/ws/btcusdt@trade"))
            while bound.exchange.sessions == 0:
                await trio.sleep(0.01)
            while bound.exchange.sessions:
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()


async def test_port_in_use_is_one_clear_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match=r"another program listens there; choose another address"):
            await serve(settings(address=f"127.0.0.1:{taken.getsockname()[1]}"))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"faults": "explode"}, "unknown fault"),
        ({"faults": "stall:NOPE"}, "there is no symbol NOPE"),
        ({"epoch": "yesterday"}, "write it like 2026-01-31"),
        ({"replay": "/nowhere/BTCUSDT.json"}, "cannot read the recording"),
    ],
)
async def test_bad_settings_are_refused_with_a_message(changes: dict[str, Any], complaint: str) -> None:
    if "replay" in changes:
        changes["replay"] = Path(changes["replay"])
    with pytest.raises(UserError, match=complaint):
        await serve(settings(**changes))


async def test_exchange_survives_garbage_and_partial_requests() -> None:
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            bound = await start(nursery)
            for garbage in (b"\x16\x03\x01", b"GET / HTTP/9.9\r\n\r\n", b"GET /api/v3/time HTTP/1.1\r\nHo"):
                stream = await trio.open_tcp_stream(bound.host, bound.port)
                await stream.send_all(garbage)
                await stream.aclose()
            async with httpx.AsyncClient(base_url=bound.rest_url) as rest:
                assert (await rest.get("/api/v3/ping")).status_code == 200
            nursery.cancel_scope.cancel()


async def test_an_upgrade_without_a_key_is_refused() -> None:
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            bound = await start(nursery)
            stream = await trio.open_tcp_stream(bound.host, bound.port)
            await stream.send_all(
                b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            )
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 400 ")
            nursery.cancel_scope.cancel()
