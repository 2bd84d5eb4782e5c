"""Exchanges to test against, and a naive reading of their klines."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import ROUND_DOWN, Decimal, localcontext
from pathlib import Path
from typing import Any

import httpcore
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from candled.embedded_exchange.clock import ExchangeClock
from candled.embedded_exchange.core import Exchange, Limits
from candled.embedded_exchange.memory import MemoryExchange, open_memory_exchange
from candled.embedded_exchange.replay import load_recording
from candled.embedded_exchange.synthetic import SyntheticMarket

NOON = 1_790_000_000_000_000 // 86_400_000_000 * 86_400_000_000 + 12 * 3_600_000_000
SYMBOLS = ("BTCUSDT", "ETHUSDT", "PEPEUSDT")
MINUTE = 60_000_000
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: exchange\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def synthetic(
    *,
    seed: int = 1,
    rate: float = 1.0,
    speed: float = 1.0,
    faults: str = "",
    limits: Limits | None = None,
    at: int = NOON,
) -> Exchange:
    """An exchange on a synthetic market whose clock is the Trio run's."""
    clock = ExchangeClock(at, trio.current_time, speed=speed)
    return Exchange(SyntheticMarket(seed, SYMBOLS, rate=rate), clock, seed=seed, faults=faults, limits=limits)


def replayed(path: Path, *, speed: float = 1.0) -> Exchange:
    """An exchange that replays a recording once somebody subscribes."""
    market = load_recording(path)
    clock = ExchangeClock(market.start, trio.current_time, speed=speed, running=False, fast_until=market.end)
    return Exchange(market, clock, start_on_subscription=True)


class World:
    """A client's view of an exchange in memory."""

    def __init__(self, memory: MemoryExchange, pool: httpcore.AsyncConnectionPool, nursery: trio.Nursery) -> None:
        self.memory = memory
        self.exchange = memory.exchange
        self._pool = pool
        self._nursery = nursery

    async def request(
        self, target: str, *, method: str = "GET", body: bytes = b"", headers: Any = None
    ) -> httpcore.Response:
        return await self._pool.request(method, f"http://exchange{target}", content=body, headers=headers)

    async def get(self, target: str) -> Any:
        """The decoded body of an answer under ``/api/v3/``, which must be well."""
        response = await self.request(f"/api/v3/{target}")
        assert response.status == 200, response.content
        return json.loads(response.content)

    async def error(self, target: str) -> tuple[int, int, str]:
        """Status, code and text of an answer that is an error."""
        response = await self.request(f"/api/v3/{target}")
        error = json.loads(response.content)
        return response.status, error["code"], error["msg"]

    async def command(self, text: str) -> httpcore.Response:
        return await self.request("/faults", method="POST", body=text.encode())

    async def upgrade(self, path: str) -> int:
        """The status that an upgrade request is answered with."""
        stream = await self.memory.connect()
        await stream.send_all(UPGRADE.replace(b"/ws", path.encode()))
        return int(bytes(await stream.receive_some()).split()[1])

    async def subscribe(self, path: str) -> "Subscriber":
        stream = await self.memory.connect()
        connection = await wrap_client_stream(
            self._nursery,
            stream,  # type: ignore[arg-type]  # any stream of bytes does
            "exchange",
            path,
        )
        return Subscriber(connection)


class Subscriber:
    """A stream client."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self.connection = connection

    async def next(self) -> Any:
        return json.loads(await self.connection.get_message())

    async def take(self, count: int) -> list[Any]:
        return [await self.next() for _ in range(count)]

    async def send(self, message: object) -> None:
        await self.connection.send_message(message if isinstance(message, str) else json.dumps(message))

    async def ask(self, method: str, *params: object) -> Any:
        """The answer to a control message, whatever else comes before it."""
        await self.send({"method": method, "params": list(params), "id": 7})
        while True:
            message = await self.next()
            if message.get("id") == 7:
                return message


def close_code(closed: ConnectionClosed) -> int:
    """The code that a connection was closed with."""
    assert closed.reason is not None
    return closed.reason.code


@asynccontextmanager
async def open_world(exchange: Exchange) -> AsyncIterator[World]:
    """An exchange in memory with its clients; nothing in it may take for ever."""
    with trio.fail_after(3 * 86_400):  # mock time: far beyond anything that a test waits for
        async with (
            open_memory_exchange(exchange) as memory,
            httpcore.AsyncConnectionPool(network_backend=memory.backend()) as pool,
            trio.open_nursery() as nursery,
        ):
            yield World(memory, pool, nursery)
            nursery.cancel_scope.cancel()


def naive_kline(rows: list[dict[str, Any]]) -> dict[str, Decimal | int]:
    """The nine numbers of the kline of REST trade rows."""
    with localcontext() as context:
        context.prec = 60
        prices = [Decimal(row["price"]) for row in rows]
        quantities = [Decimal(row["qty"]) for row in rows]
        quotes = [(p * q).quantize(Decimal("1e-8"), ROUND_DOWN) for p, q in zip(prices, quantities, strict=True)]
        takers = [not row["isBuyerMaker"] for row in rows]
        zero = Decimal(0)
        return {
            "open": prices[0],
            "high": max(prices),
            "low": min(prices),
            "close": prices[-1],
            "volume": sum(quantities, zero),
            "quote": sum(quotes, zero),
            "count": len(rows),
            "taker": sum((q for q, taker in zip(quantities, takers, strict=True) if taker), zero),
            "taker_quote": sum((q for q, taker in zip(quotes, takers, strict=True) if taker), zero),
        }


def kline_of_row(row: list[Any]) -> dict[str, Decimal | int]:
    """The same numbers of a REST kline row."""
    names = ("open", "high", "low", "close", "volume", None, "quote", "count", "taker", "taker_quote")
    return {
        name: value if name == "count" else Decimal(value)
        for name, value in zip(names, row[1:], strict=False)
        if name
    }
