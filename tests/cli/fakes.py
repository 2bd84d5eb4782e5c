"""Stand-ins for what commands open: a history in memory, a client with scripted answers."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import duckdb
from click.testing import Result

from candled.client import Bar, Heartbeat, Kind, Message, Status, Symbol, SymbolStatus

Invoke = Callable[..., Result]
"""Runs the command with these arguments."""

OPEN_TIME = datetime(2026, 5, 8, 14, 30, tzinfo=UTC)


def make_bar(**values: Any) -> Bar:
    """A bar as the client gives it; the defaults stand for what a test does not care about."""
    defaults: dict[str, Any] = {
        "symbol": "BTCUSDT",
        "interval": "1m",
        "open_time": OPEN_TIME,
        "close_time": OPEN_TIME + timedelta(minutes=1),
        "open": Decimal("100.00000000"),
        "high": Decimal("110.00000000"),
        "low": Decimal("90.00000000"),
        "close": Decimal("105.50000000"),
        "volume": Decimal("1234567890123.00000001"),
        "quote_volume": Decimal("2.00000000"),
        "trade_count": 7,
        "taker_buy_volume": Decimal("1.00000000"),
        "taker_buy_quote_volume": Decimal("1.00000000"),
        "first_trade_id": 1,
        "last_trade_id": 7,
        "closed": True,
        "complete": True,
        "revision": 0,
    }
    return Bar(**defaults | values)


def make_heartbeat() -> Heartbeat:
    """A heartbeat as the client gives it."""
    return Heartbeat(sequence=1, exchange_time=OPEN_TIME, send_time=OPEN_TIME)


def make_message(kind: Kind, bar: Bar, **values: Any) -> Message:
    """A message as the client gives it."""
    defaults: dict[str, Any] = {
        "sequence": 1,
        "exchange_time": OPEN_TIME,
        "send_time": OPEN_TIME,
        "resume_token": "",
    }
    return Message(kind=kind, bar=bar, **defaults | values)


def make_symbol_status(**values: Any) -> SymbolStatus:
    """A symbol's status as the client gives it."""
    defaults: dict[str, Any] = {
        "symbol": "BTCUSDT",
        "status": "TRADING",
        "live": True,
        "last_trade_id": 7,
        "last_trade_time": OPEN_TIME,
        "lag_ms": 3.2,
        "reconnects": 1,
        "trades": 7,
        "duplicates": 0,
        "gaps": (),
        "gaps_filled": 2,
        "last_price": Decimal("105.50000000"),
    }
    return SymbolStatus(**defaults | values)


def make_status(**values: Any) -> Status:
    """A daemon's status as the client gives it."""
    defaults: dict[str, Any] = {
        "version": "0.1.0",
        "start_time": OPEN_TIME,
        "exchange": "synthetic seed=1",
        "exchange_time": OPEN_TIME,
        "ready": True,
        "not_ready_reasons": (),
        "notices": (),
        "process": "",
        "ingesters": (),
        "symbols": (make_symbol_status(),),
        "subscribers": 2,
    }
    return Status(**defaults | values)


def minutes(count: int, symbol: str = "BTCUSDT", **values: Any) -> list[Bar]:
    """Bars of consecutive minutes."""
    opens = [OPEN_TIME + timedelta(minutes=i) for i in range(count)]
    return [
        make_bar(symbol=symbol, open_time=open_time, close_time=open_time + timedelta(minutes=1), **values)
        for open_time in opens
    ]


SERVED = ("BTCUSDT", "ETHUSDT")


@attrs.define
class Client:
    bars: list[Bar] = attrs.field(factory=list)
    messages: list[Message | Heartbeat] = attrs.field(factory=list)
    state: Status = attrs.field(factory=make_status)
    refusal: Exception | None = None
    """What a stream of a symbol that is not served raises."""

    @asynccontextmanager
    async def stream_bars(
        self, *, symbols: Sequence[str] = (), **_request: Any
    ) -> AsyncIterator[AsyncIterator[Message | Heartbeat]]:
        async def stream() -> AsyncIterator[Message | Heartbeat]:
            if self.refusal and not set(symbols) <= set(SERVED):
                raise self.refusal
            for message in self.messages:
                yield message

        yield stream()

    async def get_bars(
        self,
        symbol: str,
        interval: str = "1m",
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        limit: int | None = None,
    ) -> list[Bar]:
        found = [bar for bar in self.bars if (bar.symbol, bar.interval) == (symbol, interval)]
        return found[-limit:] if limit else found

    async def symbols(self) -> list[Symbol]:
        return [Symbol(symbol=name, status="TRADING") for name in SERVED]

    async def status(self) -> Status:
        return self.state


def history(bars: Sequence[Bar]) -> duckdb.DuckDBPyConnection:
    """A connection with the view ``bars``, as ``candled.history.connect`` gives it."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    kinds: dict[object, str] = {
        str: "VARCHAR", datetime: "TIMESTAMPTZ", Decimal: "DECIMAL(38,8)", int: "BIGINT", bool: "BOOLEAN",
        int | None: "BIGINT",
    }  # fmt: skip
    columns = ", ".join(f'"{field.name}" {kinds[field.type]}' for field in attrs.fields(Bar))
    connection.execute(f"CREATE TABLE bars ({columns})")
    connection.execute(
        "CREATE MACRO bars_between(of_interval, since, until) AS TABLE "
        "SELECT * FROM bars WHERE interval = of_interval AND open_time >= since AND open_time < until"
    )
    if bars:
        marks = ", ".join("?" * len(attrs.fields(Bar)))
        connection.executemany(f"INSERT INTO bars VALUES ({marks})", [attrs.astuple(bar) for bar in bars])
    return connection
