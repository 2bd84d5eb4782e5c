"""The Python client: typed bars, exact decimals, reconnect and resume. For Trio, asyncio, and plain code.

In a script or a notebook:

```python
with open_client("127.0.0.1:50051") as client:
    day = client.get_bars("BTCUSDT", "1h", limit=24)  # day.to_pandas(), to_polars() and to_arrow() make a table
    for bar in client.bars("BTCUSDT"):
        print(bar.close, max(hour.high for hour in day))
```

With Trio, or with ``open_asyncio_client`` for asyncio, the newest state of each bar:

```python
async with open_trio_client("127.0.0.1:50051") as client:
    async for bar in client.bars("BTCUSDT", closed_only=True):
        print(bar.close, bar.complete)
```

Or every message of a stream:

```python
async with open_trio_client("127.0.0.1:50051") as client:
    async with client.stream_bars(symbols=["BTCUSDT"]) as messages:
        async for message in messages:
            print(message.kind, message.bar)
```

Every message carries a bar; with ``heartbeats=True`` a stream also yields a ``Heartbeat`` after 15 s without one.
"""

import importlib
from typing import TYPE_CHECKING, Final

from candled.client.bars import Bars
from candled.client.model import (
    Bar,
    ClientError,
    DeadlineExceededError,
    Gap,
    GapState,
    Heartbeat,
    Ingester,
    InvalidArgumentError,
    Kind,
    Message,
    NotFoundError,
    ResourceExhaustedError,
    Status,
    Symbol,
    SymbolStatus,
    UnauthenticatedError,
    UnavailableError,
)

if TYPE_CHECKING:
    from candled.client.asyncio_client import AsyncioClient, open_asyncio_client
    from candled.client.base import LiveBars
    from candled.client.sync_client import SyncClient, open_client
    from candled.client.trio_client import TrioClient, open_trio_client

__all__ = [
    "AsyncioClient",
    "Bar",
    "Bars",
    "ClientError",
    "DeadlineExceededError",
    "Gap",
    "GapState",
    "Heartbeat",
    "Ingester",
    "InvalidArgumentError",
    "Kind",
    "LiveBars",
    "Message",
    "NotFoundError",
    "ResourceExhaustedError",
    "Status",
    "Symbol",
    "SymbolStatus",
    "SyncClient",
    "TrioClient",
    "UnauthenticatedError",
    "UnavailableError",
    "open_asyncio_client",
    "open_client",
    "open_trio_client",
]

_MODULES: Final = {
    "AsyncioClient": "asyncio_client",
    "LiveBars": "base",
    "SyncClient": "sync_client",
    "TrioClient": "trio_client",
    "open_asyncio_client": "asyncio_client",
    "open_client": "sync_client",
    "open_trio_client": "trio_client",
}
"""Modules of the names that are imported when they are used: a program wants one client, not every event loop."""


def __getattr__(name: str) -> object:
    """Import a client when it is used for the first time."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, whether or not they were used yet."""
    return __all__
