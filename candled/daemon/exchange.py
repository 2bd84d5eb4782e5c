"""The way to the exchange, for the roles that read it: its adapter, addresses and proxies."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import attrs
import structlog

from candled.config.proxies import Proxies
from candled.config.settings import DaemonSettings
from candled.daemon.lifecycle import Lifecycle
from candled.feed.adapter import Connect, ExchangeDescription, RestClient
from candled.feed.errors import SourceUnavailableError
from candled.feed.instruments import fetch_exchange_info
from candled.feed.registry import find_adapter
from candled.feed.transport.proxy import proxied_connect, proxied_network
from candled.feed.transport.tcp import connect_tcp

_log = structlog.get_logger(__name__)


@attrs.frozen(kw_only=True)
class Exchange:
    """The exchange's two sides."""

    rest: RestClient
    connect: Connect
    """Opens byte streams to its websockets."""
    rest_urls: Sequence[str]
    stream_urls: Sequence[str]
    proxies: Proxies

    def log_routes(self) -> None:
        """Log how each address is reached, if there is a proxy for any."""
        for url in (*self.rest_urls, *self.stream_urls) if self.proxies.by_scheme else ():
            _log.info("route to the exchange", url=url, route=self.proxies.describe(url))


@asynccontextmanager
async def open_exchange(settings: DaemonSettings, proxies: Proxies) -> AsyncIterator[Exchange]:
    """Keep a REST client of the exchange that the settings name while inside; nothing is asked yet."""
    adapter = find_adapter(settings.exchange)
    rest_urls = settings.rest_urls or adapter.defaults.rest_urls
    network = proxied_network(proxies, rest_urls)
    async with adapter.open_rest(rest_urls, settings.rest_weight_per_minute, network) as rest:
        yield Exchange(
            rest=rest,
            connect=proxied_connect(proxies, connect_tcp),
            rest_urls=rest_urls,
            stream_urls=settings.stream_urls or adapter.defaults.stream_urls,
            proxies=proxies,
        )


async def wait_for_exchange(
    rest: RestClient, symbols: Sequence[str], lifecycle: Lifecycle, rng: random.Random
) -> ExchangeDescription:
    """Return what the exchange says of itself and of symbols, once it answers.

    Args:
        rest: who is asked.
        symbols: which; those that it does not have are left out.
        lifecycle: enters the phase, and takes the reason of each failure.
        rng: jitter between attempts.

    Raises:
        FeedError: it refuses to answer.
    """

    def note(error: SourceUnavailableError, delay: float) -> None:
        lifecycle.wait_for_exchange(f"The exchange does not answer: {str(error).rstrip('.')}.")
        retry = round(delay, 1)
        _log.warning("cannot reach the exchange, trying again", reason=str(error), retry_in_seconds=retry)

    lifecycle.wait_for_exchange()
    return await fetch_exchange_info(rest, symbols, rng, note)
