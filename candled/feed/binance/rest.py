"""Binance's REST market data, within its weight limits."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Final, NoReturn, TypeVar
from urllib.parse import urlencode

import httpcore
import msgspec
import structlog
import trio

from candled.domain.trade import Trade
from candled.feed.adapter import (
    ExchangeDescription,
    Instrument,
    KlinePage,
    TradePage,
)
from candled.feed.binance import headers as header
from candled.feed.binance.capabilities import CAPABILITIES
from candled.feed.binance.rest_rows import (
    IDENTITY,
    PAGE,
    Listing,
    decode_aggregates,
    decode_klines,
    decode_listing,
    decode_refusal,
    decode_server_time,
    decode_trades,
)
from candled.feed.errors import (
    KeyWantedError,
    SourceRefusedError,
    SourceUnavailableError,
)
from candled.feed.headers import Reading
from candled.feed.rest_source import MEBIBYTE, Answer, Endpoint, RestSource, open_source, read_answer
from candled.feed.transport.rate_limit import RollingLimit

CONNECTIONS: Final = 12
"""Requests under way at once."""
SYMBOLS_PER_REQUEST: Final = 100
"""Names in one ``exchangeInfo`` query, so that its URL stays short; for more of them, all are asked for."""


_ENDPOINTS: Final = {
    "historicalTrades": Endpoint(25, 2 * MEBIBYTE, 20.0),
    "aggTrades": Endpoint(4, 2 * MEBIBYTE, 20.0),
    "klines": Endpoint(2, 2 * MEBIBYTE, 20.0),
    "exchangeInfo": Endpoint(20, 64 * MEBIBYTE, 120.0),
    "time": Endpoint(1, MEBIBYTE // 16, 10.0),
}
_INVALID_SYMBOL: Final = -1121
_UNAUTHORIZED: Final = 401
_KEY_WANTED: Final = frozenset({-2014, -2015})
"""Codes of an API key that is missing or not allowed this request."""
KEY_SECONDS: Final = 600.0
"""Until a kind of request that wanted a key is sent to the same base URL again."""
_SLOW_DOWN: Final = (418, 429)
_OF_ADDRESS: Final = frozenset({403, 404, 407, 421, 451})
"""Statuses that refuse a client or a path at one address; another base URL may answer the same request."""
_T = TypeVar("_T")
log = structlog.get_logger(__name__)


def open_rest(
    base_urls: Sequence[str],
    weight_per_minute: int,
    network: httpcore.AsyncNetworkBackend | None = None,
) -> AbstractAsyncContextManager["BinanceRest"]:
    """Open a client for the REST side; ``network``: another one than the machine's, for tests."""
    return open_source(BinanceRest, base_urls, weight_per_minute, network, connections=CONNECTIONS)


class BinanceRest(RestSource):
    """A ``TradeSource``. All requests share one weight limit; base URLs are tried in turn when one fails."""

    capabilities = CAPABILITIES

    def __init__(self, pool: httpcore.AsyncConnectionPool, base_urls: Sequence[str], weight: RollingLimit) -> None:
        super().__init__(pool, base_urls, weight)
        self._keyed_until: dict[tuple[str, str], float] = {}
        """Local monotonic clock until when a base URL is not asked for a path again, as it wants a key for it."""
        self._clock: tuple[int, float] | None = None
        """The exchange's clock as it was last read, microseconds, and the local monotonic clock then, seconds."""

    async def server_time(self) -> int:
        """See ``TradeSource``."""
        time = await self._get("time", {}, decode_server_time)
        self._clock = time, trio.current_time()
        return time

    async def describe(self, symbols: Sequence[str]) -> ExchangeDescription:
        """See ``TradeSource``. It weighs 20 for each hundred of them, and 20 more if one is unknown."""
        listings = await self._listings(symbols)
        instruments = {
            entry.symbol: Instrument(
                entry.symbol, entry.status, entry.decimals("PRICE_FILTER"), entry.decimals("LOT_SIZE")
            )
            for listing in listings
            for entry in listing.symbols
        }
        embedded = listings[0].embedded
        identity = IDENTITY if embedded is None else f"candled-embedded {embedded}"
        return ExchangeDescription(identity, instruments, [name for listing in listings for name in listing.names])

    async def _listings(self, symbols: Sequence[str]) -> list[Listing]:
        """At least these symbols, those that there are; the exchange refuses to list any beside an unknown one."""
        decode = partial(decode_listing, wanted=symbols)
        listings = []
        try:
            for begin in range(0, len(symbols), SYMBOLS_PER_REQUEST):
                asked = symbols[begin : begin + SYMBOLS_PER_REQUEST]
                query = {"symbols": msgspec.json.encode(asked).decode()}
                listings.append(await self._get("exchangeInfo", query, partial(decode_listing, wanted=asked)))
        except SourceRefusedError as error:
            if error.args[1:] != (_INVALID_SYMBOL,):
                raise
            listings = []
        return listings or [await self._get("exchangeInfo", {}, decode)]

    async def trades(self, symbol: str, first_id: int, limit: int = PAGE) -> TradePage:
        """See ``TradeSource``."""
        query = {"symbol": symbol, "fromId": str(first_id), "limit": str(min(limit, PAGE))}
        decode = partial(decode_trades, symbol=symbol, first_id=first_id)
        page = await self._get("historicalTrades", query, decode)
        self._note_refused(page.refused)
        return page

    async def aggregates_since(self, symbol: str, time: int, limit: int = PAGE) -> TradePage:
        """See ``TradeSource``."""
        return await self._aggregates(symbol, {"startTime": str(time // 1000), "limit": str(limit)})

    async def aggregates_from(self, symbol: str, cursor: int, limit: int = PAGE) -> TradePage:
        """See ``TradeSource``."""
        return await self._aggregates(symbol, {"fromId": str(cursor), "limit": str(limit)})

    async def newest(self, symbol: str) -> Trade | None:
        """See ``TradeSource``."""
        page = await self._aggregates(symbol, {"limit": "1"})
        if page.refused:
            raise SourceUnavailableError(f"the newest aggregate is refused: {page.refused[0].reason}")
        return page.trades[-1] if page.trades else None

    async def klines(self, symbol: str, first_open_time: int, limit: int = PAGE) -> KlinePage:
        """See ``TradeSource``."""
        query = {
            "symbol": symbol,
            "interval": "1m",
            "startTime": str(first_open_time // 1000),
            "limit": str(limit),
        }
        decode = partial(decode_klines, symbol=symbol, first_open_time=first_open_time)
        page = await self._get("klines", query, decode)
        self._note_refused(page.refused)
        return page

    async def _aggregates(self, symbol: str, query: Mapping[str, str]) -> TradePage:
        page = await self._get("aggTrades", {"symbol": symbol, **query}, partial(decode_aggregates, symbol=symbol))
        self._note_refused(page.refused)
        return page

    async def _get(self, path: str, query: Mapping[str, str], decode: Callable[[bytes], _T]) -> _T:
        """Ask, in turn, each base URL until one answers.

        Raises:
            SourceUnavailableError: none did.
            SourceRefusedError: the request itself was refused; its second argument is the exchange's code.
            KeyWantedError: those that answer want a key for it.
        """
        endpoint = _ENDPOINTS[path]
        if not self._without_key(path):
            raise self._key_wanted(path)
        await self._take_weight(endpoint.weight)

        async def ask(base: str) -> _T:
            try:
                return await self._ask(f"{base}/api/v3/{path}?{urlencode(query)}", endpoint, decode)
            except KeyWantedError as error:
                self._keyed_until[base, path] = trio.current_time() + KEY_SECONDS
                log.warning(
                    "the exchange wants an API key: add a base URL that wants none to rest_urls",
                    url=base,
                    request=path,
                    reason=error.args[0],
                    asked_again_in_seconds=KEY_SECONDS,
                )
                raise

        try:
            return await self._ask_in_turn(self._without_key(path), ask)
        except SourceUnavailableError:
            if len(self._without_key(path)) < len(self._base_urls):
                raise self._key_wanted(path) from None
            raise

    def _without_key(self, path: str) -> list[str]:
        """Base URLs that may answer without a key; a copy, as requests at once turn to the next URL together."""
        now = trio.current_time()
        return [base for base in self._base_urls if self._keyed_until.get((base, path), 0.0) <= now]

    def _key_wanted(self, path: str) -> KeyWantedError:
        keyed = [base for base in self._base_urls if base not in self._without_key(path)]
        return KeyWantedError(
            f"{' and '.join(keyed)} answers {path} only with an API key: "
            "add a base URL that wants none to rest_urls"
        )

    async def _ask(self, url: str, endpoint: Endpoint, decode: Callable[[bytes], _T]) -> _T:
        answer = await self._fetch(url, endpoint)
        now = trio.current_time()
        used = header.used_weight(answer.headers)
        if used.refused:
            self._note_header(b"x-mbx-used-weight-1m", answer, now)
        if used.value is not None:
            self._weight.correct(int(used.value), now)
        if answer.status in _SLOW_DOWN:
            self._slow_down(answer, self._stated_wait(answer, now), header.RETRY_SECONDS)
        if 400 <= answer.status < 500:
            _refuse(answer)
        return await read_answer(answer, decode)

    def _stated_wait(self, answer: Answer, now: float) -> Reading:
        """Read how long the exchange wants to be left alone."""
        try:
            _, message = decode_refusal(answer.body)
        except ValueError:
            message = ""
        exchange_time = None
        if self._clock is not None:
            exchange_time = self._clock[0] + round((now - self._clock[1]) * 1_000_000)
        return header.retry_after(answer.headers, message, exchange_time)


def _refuse(answer: Answer) -> NoReturn:
    """Raise what a status from 400 to 499 means for the request.

    Raises:
        KeyWantedError: it needs an API key.
        SourceUnavailableError: another base URL may answer it.
        SourceRefusedError: it is refused wherever it is sent.
    """
    try:
        code, message = decode_refusal(answer.body)
    except ValueError:
        if answer.status == _UNAUTHORIZED:
            raise KeyWantedError(f"status {answer.status}") from None
        raise SourceUnavailableError(f"status {answer.status} without an explanation") from None
    if answer.status == _UNAUTHORIZED or code in _KEY_WANTED:
        raise KeyWantedError(f"{message} (code {code})", code)
    if answer.status in _OF_ADDRESS:
        raise SourceUnavailableError(f"status {answer.status}, {message.rstrip('.')} (code {code})")
    raise SourceRefusedError(f"{message} (code {code})", code)
