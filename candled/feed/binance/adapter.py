"""Binance spot: what it offers and limits, and how its combined streams are named and subscribed to."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import attrs
import msgspec

from candled.feed.adapter import (
    Capabilities,
    Decoded,
    Defaults,
    ExchangeAdapter,
    Instrument,
    RestClient,
    Subscription,
)
from candled.feed.binance.capabilities import CAPABILITIES
from candled.feed.binance.rest_rows import IDENTITY
from candled.feed.binance.wire import decode_frames

if TYPE_CHECKING:
    import httpcore

STREAMS_IN_URL: Final = 100
"""Streams named in the URL; the others are subscribed to by message, so that the URL stays short."""
STREAMS_PER_MESSAGE: Final = 200

DEFAULTS: Final = Defaults(
    symbols=("BTCUSDT", "ETHUSDT", "PEPEUSDT"),
    stream_urls=(
        "wss://stream.binance.com:9443",
        "wss://stream.binance.com:443",
        "wss://data-stream.binance.vision",
    ),
    rest_urls=("https://api.binance.com", "https://data-api.binance.vision"),
    rest_weight_per_minute=3000,
)


@attrs.frozen
class BinanceAdapter:
    """See ``ExchangeAdapter``."""

    name: str = "binance"
    identity: str = IDENTITY
    defaults: Defaults = DEFAULTS
    capabilities: Capabilities = CAPABILITIES
    streams_in_url: int = STREAMS_IN_URL
    streams_per_message: int = STREAMS_PER_MESSAGE

    def channel(self, instrument: Instrument, stream: str) -> str:
        """See ``ExchangeAdapter``."""
        return f"{instrument.symbol.lower()}@{stream}"

    def subscribe(self, base_url: str, channels: Sequence[str]) -> Subscription:
        """See ``ExchangeAdapter``. Symbols may hold letters of any script, which a URL percent-encodes."""
        named = quote("/".join(channels[: self.streams_in_url]), safe="/@")
        messages = tuple(
            _subscribe_message(channels[begin : begin + self.streams_per_message], number)
            for number, begin in enumerate(
                range(self.streams_in_url, len(channels), self.streams_per_message), start=1
            )
        )
        return Subscription(f"{base_url.rstrip('/')}/stream?streams={named}", messages)

    def decode(self, frames: Iterable[str | bytes]) -> Decoded:
        """See ``ExchangeAdapter``."""
        return decode_frames(frames)

    def open_rest(
        self,
        base_urls: Sequence[str] = (),
        weight_per_minute: int | None = None,
        network: "httpcore.AsyncNetworkBackend | None" = None,
    ) -> AbstractAsyncContextManager[RestClient]:
        """See ``ExchangeAdapter``."""
        from candled.feed.binance.rest import open_rest  # brings an HTTP client, and settings need the rest only

        return open_rest(*self.defaults.for_rest(base_urls, weight_per_minute), network)


def _subscribe_message(channels: Sequence[str], number: int) -> str:
    return msgspec.json.encode({"method": "SUBSCRIBE", "params": channels, "id": number}).decode()


ADAPTER: Final[ExchangeAdapter] = BinanceAdapter()
