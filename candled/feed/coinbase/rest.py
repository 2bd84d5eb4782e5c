"""Coinbase's REST market data, within its rate limits.

Trades are listed newest first, and ``after`` names the id below which a page begins: the ids from N on are those
of the page after N + its number of rows. No request names a time; ``aggregates_since`` looks for it by id.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Final, NoReturn, TypeVar
from urllib.parse import quote, urlencode

import attrs
import httpcore

from candled.domain.interval import MINUTE
from candled.domain.trade import Trade
from candled.feed.adapter import ExchangeDescription, Instrument, KlinePage, TradePage
from candled.feed.coinbase.anchors import Anchors, guess, page_since
from candled.feed.coinbase.capabilities import CANDLES, CAPABILITIES, PAGE, REQUESTS_PER_SECOND
from candled.feed.coinbase.rest_rows import (
    IDENTITY,
    decode_candles,
    decode_listing,
    decode_product,
    decode_refusal,
    decode_server_time,
    decode_trades,
)
from candled.feed.coinbase.trades import format_time
from candled.feed.errors import SourceRefusedError, SourceUnavailableError
from candled.feed.headers import retry_after
from candled.feed.rest_source import MEBIBYTE, Answer, Endpoint, RestSource, open_source, read_answer
from candled.feed.transport.rate_limit import RollingLimit
from candled.feed.transport.reasons import printable

CONNECTIONS: Final = 6
"""Requests under way at once."""
SINGLY_MAX: Final = 20
"""Products that are described one by one; for more of them, all are asked for at once."""
WAIT_SECONDS: Final = 2.0
"""Pause after an answer that asks to slow down and does not say for how long: its bucket is full again by then."""
_HEADERS: Final = (("User-Agent", "candled"),)
"""The exchange refuses requests without it (400, "User-Agent header is required.")."""
_EMBEDDED: Final = b"x-candled-exchange"
"""Header that names its market where the exchange is candled's own."""
_TRADES: Final = Endpoint(1, 2 * MEBIBYTE, 20.0)
_CANDLES: Final = Endpoint(1, MEBIBYTE, 20.0)
_PRODUCTS: Final = Endpoint(1, 16 * MEBIBYTE, 60.0)
_PRODUCT: Final = Endpoint(1, MEBIBYTE // 16, 10.0)
_TIME: Final = Endpoint(1, MEBIBYTE // 16, 10.0)
_LOOKS_MAX: Final = 80
"""Pages asked for to find a time."""
_NOT_FOUND: Final = 404
_SLOW_DOWN: Final = 429
_T = TypeVar("_T")


class _UnknownProductError(SourceRefusedError):
    """The exchange does not have a product of this name."""


def open_rest(
    base_urls: Sequence[str],
    weight_per_minute: int,
    network: httpcore.AsyncNetworkBackend | None = None,
) -> AbstractAsyncContextManager["CoinbaseRest"]:
    """Open a client for the REST side; ``network``: another one than the machine's, for tests."""
    return open_source(CoinbaseRest, base_urls, weight_per_minute, network, connections=CONNECTIONS)


class CoinbaseRest(RestSource):
    """A ``TradeSource``. Requests keep within the limit of the minute and, in bursts, that of the second."""

    capabilities = CAPABILITIES

    def __init__(self, pool: httpcore.AsyncConnectionPool, base_urls: Sequence[str], weight: RollingLimit) -> None:
        super().__init__(pool, base_urls, weight)
        self._burst = RollingLimit(max(1, min(REQUESTS_PER_SECOND, weight.most // 60)), 1.0)
        self._anchors: defaultdict[str, Anchors] = defaultdict(Anchors)
        self._embedded: str | None = None

    async def server_time(self) -> int:
        """See ``TradeSource``."""
        return await self._get("/time", {}, _TIME, decode_server_time)

    async def describe(self, symbols: Sequence[str]) -> ExchangeDescription:
        """See ``TradeSource``."""
        if len(symbols) <= SINGLY_MAX:
            try:
                found = [await self._describe_one(symbol) for symbol in symbols]
            except _UnknownProductError:
                pass  # all are asked for, to name those that look like it
            else:
                return ExchangeDescription(self._identity, {each.symbol: each for each in found}, list(symbols))
        listing = await self._get("/products", {}, _PRODUCTS, partial(decode_listing, wanted=symbols))
        return ExchangeDescription(self._identity, listing.instruments, listing.names)

    async def _describe_one(self, symbol: str) -> Instrument:
        decode = partial(decode_product, symbol=symbol)
        return await self._get(f"/products/{quote(symbol, safe='')}", {}, _PRODUCT, decode)

    @property
    def _identity(self) -> str:
        return IDENTITY if self._embedded is None else f"candled-embedded coinbase {self._embedded}"

    async def trades(self, symbol: str, first_id: int, limit: int = PAGE) -> TradePage:
        """See ``TradeSource``."""
        first_id, limit = max(0, first_id), min(limit, PAGE)
        return await self._trades(symbol, {"limit": str(limit), "after": str(first_id + limit)}, first_id)

    async def newest(self, symbol: str) -> Trade | None:
        """See ``TradeSource``."""
        page = await self._trades(symbol, {"limit": "1"}, 0)
        if page.refused:
            raise SourceUnavailableError(f"the newest trade is refused: {page.refused[0].reason}")
        return page.trades[-1] if page.trades else None

    async def aggregates_from(self, symbol: str, cursor: int, limit: int = PAGE) -> TradePage:
        """See ``TradeSource``."""
        return _with_cursor(await self.trades(symbol, cursor, limit))

    async def aggregates_since(self, symbol: str, time: int, limit: int = PAGE) -> TradePage:
        """See ``TradeSource``. It takes a few requests, fewer where trades of about that time were seen before."""
        anchors = self._anchors[symbol]
        page = TradePage([])
        for tries in range(_LOOKS_MAX):
            before, after = anchors.around(time)
            if before is not None and after is not None and before[0] >= after[0]:
                break  # ids were reset meanwhile
            if after is None:
                page = await self._trades(symbol, {"limit": str(PAGE)}, 0)
                if not page.trades or page.trades[-1].time < time:
                    return TradePage([])  # nothing was traded since
            else:
                first = max(0, guess(before, after, time, _density(page), tries) - PAGE // 2)
                page = await self.trades(symbol, first, PAGE)
                if not page.trades:  # the exchange does not have these
                    anchors.learn(first, time)
            found = page_since(page, time, before)
            if found is not None:
                return _with_cursor(attrs.evolve(found, trades=found.trades[:limit]))
        anchors.forget()
        raise SourceUnavailableError("the trades of that time were not found")

    async def klines(self, symbol: str, first_open_time: int, limit: int = CANDLES) -> KlinePage:
        """See ``TradeSource``."""
        last = first_open_time + (min(limit, CANDLES) - 1) * MINUTE
        query = {"granularity": "60", "start": format_time(first_open_time), "end": format_time(last)}
        decode = partial(decode_candles, symbol=symbol, first_open_time=first_open_time)
        page = await self._get(f"/products/{quote(symbol, safe='')}/candles", query, _CANDLES, decode)
        self._note_refused(page.refused)
        return page

    async def _trades(self, symbol: str, query: Mapping[str, str], first_id: int) -> TradePage:
        decode = partial(decode_trades, symbol=symbol, first_id=first_id)
        page = await self._get(f"/products/{quote(symbol, safe='')}/trades", query, _TRADES, decode)
        self._note_refused(page.refused)
        for trade in (*page.trades[:1], *page.trades[-1:]):
            self._anchors[symbol].learn(trade.first_id, trade.time)
        return page

    async def _get(
        self, path: str, query: Mapping[str, str], endpoint: Endpoint, decode: Callable[[bytes], _T]
    ) -> _T:
        """Ask, in turn, each base URL until one answers.

        Raises:
            SourceUnavailableError: none did.
            SourceRefusedError: the request itself was refused.
        """
        target = f"{path}?{urlencode(query)}" if query else path

        async def ask(base: str) -> _T:
            await self._take_weight(endpoint.weight, self._burst)
            return await self._ask(f"{base}{target}", endpoint, decode)

        return await self._ask_in_turn(list(self._base_urls), ask)

    async def _ask(self, url: str, endpoint: Endpoint, decode: Callable[[bytes], _T]) -> _T:
        answer = await self._fetch(url, endpoint, _HEADERS)
        if answer.status == _SLOW_DOWN:
            self._slow_down(answer, retry_after(answer.headers), WAIT_SECONDS)
        if 400 <= answer.status < 500:
            _refuse(answer)
        if (embedded := answer.headers.get(_EMBEDDED)) is not None:
            self._embedded = printable(embedded[:200].decode("utf-8", "replace"))
        return await read_answer(answer, decode)


def _refuse(answer: Answer) -> NoReturn:
    """Raise what a status from 400 to 499 means for the request.

    Raises:
        SourceUnavailableError: another base URL may answer it.
        SourceRefusedError: it is refused wherever it is sent.
    """
    try:
        message = decode_refusal(answer.body)
    except ValueError:
        raise SourceUnavailableError(f"status {answer.status} without an explanation") from None
    if answer.status == _NOT_FOUND:
        raise _UnknownProductError(message)
    if answer.status == 400:
        raise SourceRefusedError(message)
    raise SourceUnavailableError(f"status {answer.status}, {message.rstrip('.')}")


def _with_cursor(page: TradePage) -> TradePage:
    return attrs.evolve(page, cursor=None if page.last_id is None else page.last_id + 1)


def _density(page: TradePage) -> float:
    """Return how many ids there are in a microsecond, as a page shows it."""
    if len(page.trades) < 2:
        return 0.0
    first, last = page.trades[0], page.trades[-1]
    return (last.last_id - first.first_id) / max(1, last.time - first.time)
