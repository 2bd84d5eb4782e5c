"""Binance's REST market data, within its weight limits."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar
from urllib.parse import urlencode

import httpcore
import msgspec
import structlog
import trio

from candled.domain.bar import Bar
from candled.domain.trade import Trade
from candled.feed.binance.wire import (
    RestAggregate,
    RestExchangeInfo,
    RestKline,
    RestRefusal,
    RestServerTime,
    RestTrade,
    kline_to_bar,
    microseconds,
)
from candled.feed.interface import (
    ExchangeDescription,
    Instrument,
    SourceRefusedError,
    SourceUnavailableError,
)
from candled.feed.limits import RollingLimit

PAGE: Final = 1000
"""Most rows of one answer."""
REQUEST_SECONDS: Final = 10.0
"""Longest wait for one answer."""
CONNECTIONS: Final = 4
"""Requests under way at once."""
IDENTITY: Final = "binance-spot"
SYMBOLS_PER_REQUEST: Final = 100
"""Names in one ``exchangeInfo`` query, so that its URL stays short; for more of them, all are asked for."""

_WEIGHTS: Final = {"historicalTrades": 25, "aggTrades": 4, "klines": 2, "exchangeInfo": 20, "time": 1}
_INVALID_SYMBOL: Final = -1121
_SLOW_DOWN: Final = (418, 429)
_T = TypeVar("_T")
log = structlog.get_logger(__name__)
_ERROR_NUMBER: Final = re.compile(r"\[Errno -?\d+\] ")


@asynccontextmanager
async def open_rest(
    base_urls: Sequence[str],
    weight_per_minute: int,
    network: httpcore.AsyncNetworkBackend | None = None,
) -> AsyncIterator["BinanceRest"]:
    """Open a client for the REST side; ``network``: another one than the machine's, for tests."""
    async with httpcore.AsyncConnectionPool(
        max_connections=CONNECTIONS, keepalive_expiry=20.0, network_backend=network
    ) as pool:
        yield BinanceRest(pool, base_urls, RollingLimit(weight_per_minute, 60.0))


class BinanceRest:
    """A ``TradeSource``. All requests share one weight limit; base URLs are tried in turn when one fails."""

    def __init__(self, pool: httpcore.AsyncConnectionPool, base_urls: Sequence[str], weight: RollingLimit) -> None:
        self._pool = pool
        self._base_urls = list(base_urls)
        self._weight = weight
        self._turn = trio.Lock()
        self.requests = 0
        self.failures = 0
        self.bytes = 0
        """Of the answers' bodies."""

    @property
    def weight_used(self) -> int:
        """Request weight used in the last minute."""
        return self._weight.used(trio.current_time())

    @property
    def weight_limit(self) -> int:
        """Request weight that may be used in a minute."""
        return self._weight.most

    async def server_time(self) -> int:
        """See ``TradeSource``."""
        answer = await self._get("time", {}, RestServerTime)
        return microseconds(answer.server_time)

    async def describe(self, symbols: Sequence[str]) -> ExchangeDescription:
        """See ``TradeSource``. It weighs 20, however many symbols there are, and twice that if one is unknown."""
        info = await self._listing(symbols)
        wanted = set(symbols)
        instruments = {
            entry.symbol: Instrument(
                entry.symbol, entry.status, entry.decimals("PRICE_FILTER"), entry.decimals("LOT_SIZE")
            )
            for entry in info.symbols
            if entry.symbol in wanted
        }
        identity = IDENTITY if info.embedded is None else f"candled-embedded {info.embedded}"
        return ExchangeDescription(identity, instruments, [entry.symbol for entry in info.symbols])

    async def _listing(self, symbols: Sequence[str]) -> RestExchangeInfo:
        """At least these symbols, those that there are; the exchange refuses to list any beside an unknown one."""
        if 0 < len(symbols) <= SYMBOLS_PER_REQUEST:
            names = msgspec.json.encode(symbols).decode()
            try:
                return await self._get("exchangeInfo", {"symbols": names}, RestExchangeInfo)
            except SourceRefusedError as error:
                if error.args[1:] != (_INVALID_SYMBOL,):
                    raise
        return await self._get("exchangeInfo", {}, RestExchangeInfo)

    async def trades(self, symbol: str, first_id: int, limit: int = PAGE) -> list[Trade]:
        """See ``TradeSource``."""
        query = {"symbol": symbol, "fromId": str(first_id), "limit": str(min(limit, PAGE))}
        rows = await self._get("historicalTrades", query, list[RestTrade])
        return [row.to_trade(symbol) for row in rows]

    async def aggregates_since(self, symbol: str, time: int, limit: int = PAGE) -> tuple[list[Trade], int | None]:
        """See ``TradeSource``."""
        return await self._aggregates(symbol, {"startTime": str(time // 1000), "limit": str(limit)})

    async def aggregates_from(self, symbol: str, cursor: int, limit: int = PAGE) -> tuple[list[Trade], int | None]:
        """See ``TradeSource``."""
        return await self._aggregates(symbol, {"fromId": str(cursor), "limit": str(limit)})

    async def newest(self, symbol: str) -> Trade | None:
        """See ``TradeSource``."""
        trades, _ = await self._aggregates(symbol, {"limit": "1"})
        return trades[-1] if trades else None

    async def klines(self, symbol: str, first_open_time: int, limit: int = PAGE) -> list[Bar]:
        """See ``TradeSource``."""
        query = {
            "symbol": symbol,
            "interval": "1m",
            "startTime": str(first_open_time // 1000),
            "limit": str(limit),
        }
        rows = await self._get("klines", query, list[RestKline])
        return [kline_to_bar(symbol, row) for row in rows]

    async def _aggregates(self, symbol: str, query: Mapping[str, str]) -> tuple[list[Trade], int | None]:
        rows = await self._get("aggTrades", {"symbol": symbol, **query}, list[RestAggregate])
        trades = [row.to_trade(symbol) for row in rows if row.f >= 0]
        return trades, rows[-1].a + 1 if rows else None

    async def _get(self, path: str, query: Mapping[str, str], answer: type[_T]) -> _T:
        """Ask, in turn, each base URL until one answers.

        Raises:
            SourceUnavailableError: none did.
            SourceRefusedError: the request itself was refused; its second argument is the exchange's code.
        """
        weight = _WEIGHTS[path]
        await self._weight_free(weight)
        reasons = []
        for _ in range(len(self._base_urls)):
            base = self._base_urls[0]
            try:
                return await self._ask(f"{base}/api/v3/{path}?{urlencode(query)}", answer)
            except SourceUnavailableError as error:
                self.failures += 1
                reasons.append(f"{base}: {error}")
                self._base_urls.append(self._base_urls.pop(0))
                if self._weight.blocked_for(trio.current_time()):
                    break
        raise SourceUnavailableError("; ".join(reasons))

    async def _weight_free(self, weight: int) -> None:
        async with self._turn:  # one waits at a time, so that first come is first served
            delay = self._weight.wait(weight, trio.current_time())
            while delay > 0:
                await trio.sleep(delay)
                delay = self._weight.wait(weight, trio.current_time())
            self._weight.take(weight, trio.current_time())

    async def _ask(self, url: str, answer: type[_T]) -> _T:
        self.requests += 1
        try:
            with trio.fail_after(REQUEST_SECONDS):
                response = await self._pool.request("GET", url)
        except trio.TooSlowError:
            raise SourceUnavailableError(f"no answer within {REQUEST_SECONDS:g} s") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
            raise SourceUnavailableError(_why(error)) from error
        self.bytes += len(response.content)
        headers = {name.lower(): value for name, value in response.headers}
        now = trio.current_time()
        used = headers.get(b"x-mbx-used-weight-1m", b"")
        if used.isdigit():
            self._weight.correct(int(used), now)
        if response.status in _SLOW_DOWN:
            seconds = headers.get(b"retry-after", b"")
            delay = float(seconds) if seconds.isdigit() else 60.0
            self._weight.block(delay, now)
            log.warning("exchange asks to slow down", status=response.status, retry_after_seconds=delay)
            raise SourceUnavailableError(f"status {response.status}, asks to wait {delay:g} s")
        if 400 <= response.status < 500:
            try:
                refusal = msgspec.json.decode(response.content, type=RestRefusal)
            except msgspec.MsgspecError:
                raise SourceUnavailableError(f"status {response.status} without an explanation") from None
            raise SourceRefusedError(f"{refusal.msg} (code {refusal.code})", refusal.code)
        if response.status != 200:
            raise SourceUnavailableError(f"status {response.status}")
        try:
            return msgspec.json.decode(response.content, type=answer)
        except (msgspec.MsgspecError, ValueError) as error:
            raise SourceUnavailableError(f"an answer that makes no sense: {error}") from error


def _why(error: Exception) -> str:
    """What the system says of a failed request, without its number."""
    return _ERROR_NUMBER.sub("", str(error)) or type(error).__name__
