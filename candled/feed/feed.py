"""The live feed of some symbols, put together: connections, the watch for silent symbols, the exchange's clock."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog
import trio

from candled.domain.feed_event import FeedEvent
from candled.feed.adapter import Connect, ExchangeAdapter, Instrument, TradeSource
from candled.feed.connections import Connections
from candled.feed.counts import FeedCounts
from candled.feed.exchange_clock import ExchangeClockReader
from candled.feed.groups import StreamGroups
from candled.feed.intake import Intake
from candled.feed.refusals import RefusalBook
from candled.feed.silence import SilenceWatch
from candled.feed.transport.websocket import DEFAULT_LIBRARY

_log = structlog.get_logger(__name__)


class Feed:
    """The live streams of some symbols of one exchange, as feed events in a channel."""

    _followed: frozenset[str] = frozenset()

    def __init__(
        self,
        adapter: ExchangeAdapter,
        *,
        instruments: Iterable[Instrument],
        stream: str,
        stream_urls: Sequence[str],
        connections: int,
        source: TradeSource,
        connect: Connect,
        rng: random.Random,
        is_listed: Callable[[str], bool] = lambda _symbol: True,
        on_quiet: Callable[[], None] = lambda: None,
        lifetime: float | None = None,
        websocket_library: str = DEFAULT_LIBRARY,
    ) -> None:
        """Make it; ``run`` does the work.

        Args:
            adapter: the exchange.
            instruments: the symbols to read.
            stream: one of the adapter's ``streams``.
            stream_urls: websocket base URLs, tried in turn; the adapter's own if there are none.
            connections: live connections of each group of streams.
            source: asked whether a silent symbol is traded, and for the exchange's clock.
            connect: opens byte streams to the exchange.
            rng: jitter.
            is_listed: whether the exchange has a symbol, as far as is known: others are not asked for.
            on_quiet: called when a symbol is silent and the exchange has no newer trade of it either.
            lifetime: seconds after which a connection is replaced, instead of the adapter's.
            websocket_library: one of ``transport.websocket.READERS``.
        """
        self.counts = FeedCounts()
        self._adapter = adapter
        self._stream = stream
        self._groups = StreamGroups(adapter.capabilities.streams_per_connection)
        self.intake = Intake(self.counts, lambda symbol: symbol in self._followed)
        self._connections = Connections(
            adapter,
            self._groups,
            self.intake,
            self.counts,
            base_urls=stream_urls or adapter.defaults.stream_urls,
            copies=connections,
            connect=connect,
            rng=rng,
            lifetime=lifetime,
            websocket_library=websocket_library,
        )
        self._clock = ExchangeClockReader(source)
        self._watch = SilenceWatch(
            source,
            self._groups,
            self.intake.pace,
            self.counts,
            carries=self._connections.carries,
            is_listed=is_listed,
            on_quiet=on_quiet,
        )
        self.follow(instruments)

    @property
    def refusals(self) -> RefusalBook:
        """Frames that were refused."""
        return self.intake.refusals

    @property
    def connected(self) -> int:
        """Connections that are open."""
        return self._connections.open

    @property
    def connect_failures(self) -> Mapping[str, str]:
        """Why the last attempt at a base URL failed, by the URL; without those that answered since."""
        return self._connections.failures

    def reconnects(self, symbol: str) -> int:
        """Return how often this symbol's stream was connected again."""
        return self._connections.reconnects[symbol]

    def follow(self, instruments: Iterable[Instrument]) -> None:
        """Read the streams of these symbols from now on, and of no others.

        Connections whose symbols change are rolled over, so that the streams that stay have no gap.
        """
        wanted = {instrument.symbol: instrument for instrument in instruments}
        for symbol in self._followed - wanted.keys():
            self.intake.forget(symbol)
            self._connections.reconnects.pop(symbol, None)
        known = self._followed
        self._followed = frozenset(wanted)
        self._groups.follow(
            {symbol: self._channel(found, is_new=symbol not in known) for symbol, found in wanted.items()}
        )

    def reads_aggregates(self, instrument: Instrument) -> bool:
        """Return whether a symbol's stream is one of aggregates: where their sums are exact, if that is set."""
        capabilities = self._adapter.capabilities
        is_wanted = self._stream != capabilities.streams[0]
        return is_wanted and capabilities.aggregates_exact and instrument.aggregates_are_exact

    def _channel(self, instrument: Instrument, *, is_new: bool) -> str:
        raw = self._adapter.capabilities.streams[0]
        if self.reads_aggregates(instrument):
            return self._adapter.channel(instrument, self._stream)
        if self._stream != raw and is_new:
            _log.warning(
                "reading raw trades: sums of this symbol's aggregates would not be exact",
                symbol=instrument.symbol,
            )
        return self._adapter.channel(instrument, raw)

    def read_clock_soon(self) -> None:
        """Read the exchange's clock now: somebody disagrees about the time."""
        self._clock.read_soon()

    async def run(self, send: trio.MemorySendChannel[FeedEvent]) -> None:
        """Feed the channel until cancelled."""
        async with send, trio.open_nursery() as nursery:
            nursery.start_soon(self._clock.run, send.clone())
            nursery.start_soon(
                self._watch.run, send.clone(), self._clock.first_reading, self._connections.all_carried
            )
            nursery.start_soon(self._connections.run, send.clone())
