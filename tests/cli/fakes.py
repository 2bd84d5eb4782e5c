"""Stand-ins for what commands open: a history in memory, a client that says what it is told to say."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum

import attrs
import duckdb


@attrs.frozen
class Bar:
    """A bar as the client gives it."""

    symbol: str = "BTCUSDT"
    interval: str = "1m"
    open_time: datetime = datetime(2026, 5, 8, 14, 30, tzinfo=UTC)
    close_time: datetime = datetime(2026, 5, 8, 14, 31, tzinfo=UTC)
    open: Decimal = Decimal("100.00000000")
    high: Decimal = Decimal("110.00000000")
    low: Decimal = Decimal("90.00000000")
    close: Decimal = Decimal("105.50000000")
    volume: Decimal = Decimal("1234567890123.00000001")
    quote_volume: Decimal = Decimal("2.00000000")
    trade_count: int = 7
    taker_buy_volume: Decimal = Decimal("1.00000000")
    taker_buy_quote_volume: Decimal = Decimal("1.00000000")
    first_trade_id: int | None = 1
    last_trade_id: int | None = 7
    closed: bool = True
    complete: bool = True
    revision: int = 0


def minutes(count, symbol="BTCUSDT", **values):
    """Bars of consecutive minutes."""
    start = Bar().open_time
    return [
        Bar(symbol, open_time=start + timedelta(minutes=i), close_time=start + timedelta(minutes=i + 1), **values)
        for i in range(count)
    ]


class Kind(Enum):
    UPDATE = 2
    CLOSE = 3
    HEARTBEAT = 5


@attrs.frozen
class Message:
    kind: Kind
    bar: Bar | None
    sequence: int = 1
    exchange_time: datetime = Bar().open_time
    send_time: datetime = Bar().open_time
    resume_token: str = ""


@attrs.frozen
class Symbol:
    symbol: str


@attrs.frozen
class Gap:
    first_trade_id: int
    last_trade_id: int
    state: str
    reason: str


@attrs.frozen
class SymbolStatus:
    symbol: str = "BTCUSDT"
    status: str = "TRADING"
    live: bool = True
    last_trade_id: int | None = 7
    last_trade_time: datetime | None = Bar().open_time
    lag_ms: float = 3.2
    reconnects: int = 1
    trades: int = 7
    duplicates: int = 0
    gaps: tuple[Gap, ...] = ()
    gaps_filled: int = 2
    last_price: Decimal | None = Decimal("105.50000000")


@attrs.frozen
class Status:
    version: str = "0.1.0"
    start_time: datetime = Bar().open_time
    exchange: str = "synthetic seed=1"
    exchange_time: datetime = Bar().open_time
    ready: bool = True
    not_ready_reasons: tuple[str, ...] = ()
    symbols: tuple[SymbolStatus, ...] = (SymbolStatus(),)
    subscribers: int = 2


@attrs.define
class Client:
    bars: list[Bar] = attrs.field(factory=list)
    messages: list[Message] = attrs.field(factory=list)
    state: Status = attrs.field(factory=Status)

    @asynccontextmanager
    async def stream_bars(self, **_request):
        async def stream():
            for message in self.messages:
                yield message

        yield stream()

    async def get_bars(self, symbol, interval="1m", start_time=None, end_time=None):
        for bar in self.bars:
            if bar.symbol == symbol and bar.interval == interval:
                yield bar

    async def symbols(self):
        return [Symbol("BTCUSDT"), Symbol("ETHUSDT")]

    async def status(self):
        return self.state


def history(bars):
    """A connection with the view ``bars``, as ``candled.history.connect`` gives it."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    kinds = {
        str: "VARCHAR", datetime: "TIMESTAMPTZ", Decimal: "DECIMAL(38,8)", int: "BIGINT", bool: "BOOLEAN",
        int | None: "BIGINT",
    }  # fmt: skip
    columns = ", ".join(f'"{field.name}" {kinds[field.type]}' for field in attrs.fields(Bar))
    connection.execute(f"CREATE TABLE bars ({columns})")
    if bars:
        marks = ", ".join("?" * len(attrs.fields(Bar)))
        connection.executemany(f"INSERT INTO bars VALUES ({marks})", [attrs.astuple(bar) for bar in bars])
    return connection
