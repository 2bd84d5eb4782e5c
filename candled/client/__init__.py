"""The Python client: typed bars, exact decimals, reconnects and resumes by itself. For Trio and for asyncio.

::

    async with open_trio_client("127.0.0.1:50051") as client:
        async with client.stream_bars(symbols=["BTCUSDT"]) as messages:
            async for message in messages:
                print(message.kind, message.bar)
"""

from candled.client.asyncio_client import AsyncioClient, open_asyncio_client
from candled.client.model import Bar, ClientError, Gap, GapState, Kind, Message, Status, Symbol, SymbolStatus
from candled.client.trio_client import TrioClient, open_trio_client

__all__ = [
    "AsyncioClient",
    "Bar",
    "ClientError",
    "Gap",
    "GapState",
    "Kind",
    "Message",
    "Status",
    "Symbol",
    "SymbolStatus",
    "TrioClient",
    "open_asyncio_client",
    "open_trio_client",
]
