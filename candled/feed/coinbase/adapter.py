"""Coinbase Exchange: how its channels are named and subscribed to."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Final

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
from candled.feed.coinbase.capabilities import CAPABILITIES, REQUESTS_PER_SECOND
from candled.feed.coinbase.rest_rows import IDENTITY
from candled.feed.coinbase.wire import decode_frames

if TYPE_CHECKING:
    import httpcore

DEFAULTS: Final = Defaults(
    symbols=("BTC-USD", "ETH-USD"),
    stream_urls=("wss://ws-feed.exchange.coinbase.com",),
    rest_urls=("https://api.exchange.coinbase.com",),
    rest_weight_per_minute=60 * REQUESTS_PER_SECOND,
)
_CHANNELS: Final = ("matches", "heartbeat")


@attrs.frozen
class CoinbaseAdapter:
    """See ``ExchangeAdapter``."""

    name: str = "coinbase"
    identity: str = IDENTITY
    defaults: Defaults = DEFAULTS
    capabilities: Capabilities = CAPABILITIES

    def channel(self, instrument: Instrument, stream: str) -> str:
        """See ``ExchangeAdapter``. There is one kind of stream, so a product's name is enough."""
        del stream
        return instrument.symbol

    def subscribe(self, base_url: str, channels: Sequence[str]) -> Subscription:
        """See ``ExchangeAdapter``. One message a product: a product that is gone fails its message."""
        messages = tuple(_subscribe_message(channel) for channel in channels)
        return Subscription(f"{base_url.rstrip('/')}/", messages)

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
        from candled.feed.coinbase.rest import open_rest  # brings an HTTP client, and settings need the rest only

        return open_rest(*self.defaults.for_rest(base_urls, weight_per_minute), network)


def _subscribe_message(product: str) -> str:
    return msgspec.json.encode(
        {"type": "subscribe", "product_ids": [product], "channels": list(_CHANNELS)}
    ).decode()


ADAPTER: Final[ExchangeAdapter] = CoinbaseAdapter()
