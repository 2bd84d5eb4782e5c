"""REST API of the original: parameters, errors, weights. No sockets: a request in, an answer out."""

import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import islice
from typing import Final
from urllib.parse import parse_qsl

import attrs
import msgspec
import trio

from candled.domain.interval import INTERVALS, Interval
from candled.embedded_exchange.clock import ExchangeClock
from candled.embedded_exchange.klines import Kline
from candled.embedded_exchange.ledger import Ledger
from candled.embedded_exchange.market import Fill, SymbolRules
from candled.embedded_exchange.rest_side import Answer, Request, RestSide
from candled.embedded_exchange.units import decimal_text
from candled.embedded_exchange.weights import Refusal, WeightLimit
from candled.embedded_exchange.wire import MICROSECOND, MILLISECOND, aggregate_row, kline_row, trade_row

_DEFAULT_LIMIT: Final = 500
_HIGHEST_LIMIT: Final = 1000
_MICROSECONDS_FROM: Final = 10**14
"""A time parameter from this value on is in microseconds."""

_SYMBOL: Final = re.compile(r"[\w\-.]+")
_SYMBOL_RANGE: Final = r"^[\w\-._&&[^a-z]]{1,50}$"


class RequestError(Exception):
    """A request that is answered with an error, in the original's form."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status

    def answer(self) -> Answer:
        """Return the error in its wire form."""
        return Answer(status=self.status, body=msgspec.json.encode({"code": self.code, "msg": self.message}))


class Rest(RestSide):
    """The endpoints under ``/api/v3``."""

    def __init__(self, ledger: Ledger, clock: ExchangeClock, limit: WeightLimit) -> None:
        """Answer from ``ledger`` as of ``clock``, and charge request weight to ``limit``."""
        super().__init__(ledger, clock)
        self._limit = limit
        self._endpoints: dict[str, tuple[int, _Endpoint]] = {
            "/api/v3/ping": (1, self._ping),
            "/api/v3/time": (1, self._time),
            "/api/v3/exchangeInfo": (20, self._exchange_info),
            "/api/v3/trades": (25, self._trades),
            "/api/v3/historicalTrades": (25, self._historical_trades),
            "/api/v3/aggTrades": (4, self._aggregates),
            "/api/v3/klines": (2, self._klines),
            "/api/v3/uiKlines": (2, self._klines),
        }

    async def answer(self, request: Request) -> Answer:
        """Answer one request; never raises for a client's mistake."""
        endpoint = self._endpoints.get(request.path)
        if endpoint is None or request.method != "GET":
            return Answer(status=405 if endpoint else 404, body=b"<html></html>", content_type="text/html")
        weight, handler = endpoint
        used, refusal = self._limit.charge(request.address, weight)
        headers = (("x-mbx-used-weight", str(used)), ("x-mbx-used-weight-1m", str(used)))
        if refusal is not None:
            refused = refuse(refusal, self._limit.limit, self._clock.now())
            return attrs.evolve(refused, headers=headers + refused.headers)
        try:
            parameters = _Parameters(request)
            body = await handler(parameters)
        except RequestError as error:
            return attrs.evolve(error.answer(), headers=headers)
        return Answer(body=body.encode(), headers=headers)

    def _rules(self, name: str) -> SymbolRules:
        if not _is_symbol(name):
            raise RequestError(
                -1100, f"Illegal characters found in parameter 'symbol'; legal range is '{_SYMBOL_RANGE}'."
            )
        rules = self._ledger.symbols.get(name)
        if rules is None or not self.is_listed(name):
            raise RequestError(-1121, "Invalid symbol.")
        return rules

    async def _ping(self, parameters: "_Parameters") -> str:
        parameters.end()
        return "{}"

    async def _time(self, parameters: "_Parameters") -> str:
        parameters.end()
        return f'{{"serverTime":{self.server_time(self._clock.now()) // parameters.unit}}}'

    async def _exchange_info(self, parameters: "_Parameters") -> str:
        single, several = parameters.text("symbol"), parameters.text("symbols")
        parameters.text("permissions")
        parameters.text("showPermissionSets")
        parameters.text("symbolStatus")
        parameters.end()
        if single is not None and several is not None:
            raise RequestError(-1128, "Combination of optional parameters invalid.")
        names: Sequence[str] = [name for name in self._ledger.symbols if self.is_listed(name)]
        if single is not None:
            names = [single]
        elif several is not None:
            try:
                names = msgspec.json.decode(several, type=list[str])
            except msgspec.DecodeError:
                raise RequestError(
                    -1100,
                    "Illegal characters found in parameter 'symbols'; legal range is a list like '[\"BTCUSDT\"]'.",
                ) from None
        now = self._clock.now()
        return msgspec.json.encode(
            {
                "timezone": "UTC",
                "serverTime": now // parameters.unit,
                "candledExchange": self._ledger.market.identity,
                "rateLimits": [
                    {
                        "rateLimitType": "REQUEST_WEIGHT",
                        "interval": "MINUTE",
                        "intervalNum": 1,
                        "limit": self._limit.limit,
                    },
                    {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61000},
                ],
                "exchangeFilters": [],
                "symbols": [self._symbol_info(self._rules(name), now) for name in names],
            }
        ).decode()

    def _symbol_info(self, rules: SymbolRules, now: int) -> dict[str, object]:
        trading = self._ledger.market.is_trading(rules.symbol, now, now + 1)
        return {
            "symbol": rules.symbol,
            "status": "TRADING" if trading else "HALT",
            "baseAsset": rules.base_asset,
            "baseAssetPrecision": 8,
            "quoteAsset": rules.quote_asset,
            "quotePrecision": 8,
            "quoteAssetPrecision": 8,
            "baseCommissionPrecision": 8,
            "quoteCommissionPrecision": 8,
            "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
            "icebergAllowed": True,
            "ocoAllowed": True,
            "otoAllowed": True,
            "quoteOrderQtyMarketAllowed": True,
            "allowTrailingStop": True,
            "cancelReplaceAllowed": True,
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": False,
            "filters": [
                {
                    "filterType": "PRICE_FILTER",
                    "minPrice": decimal_text(rules.tick_size),
                    "maxPrice": "1000000.00000000",
                    "tickSize": decimal_text(rules.tick_size),
                },
                {
                    "filterType": "LOT_SIZE",
                    "minQty": decimal_text(rules.step_size),
                    "maxQty": "100000000000.00000000",
                    "stepSize": decimal_text(rules.step_size),
                },
                {"filterType": "ICEBERG_PARTS", "limit": 10},
                {
                    "filterType": "NOTIONAL",
                    "minNotional": "1.00000000",
                    "applyMinToMarket": True,
                    "maxNotional": "9000000.00000000",
                    "applyMaxToMarket": False,
                    "avgPriceMins": 5,
                },
                {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
                {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
            ],
            "permissions": [],
            "permissionSets": [["SPOT"]],
            "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
            "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
        }

    async def _trades(self, parameters: "_Parameters") -> str:
        rules, limit = self._rules(parameters.required("symbol")), parameters.limit()
        parameters.end()
        return self._rows(
            rules.symbol, self._ledger.newest_fills(rules.symbol, limit, self._until()), parameters.unit
        )

    async def _historical_trades(self, parameters: "_Parameters") -> str:
        rules, limit = self._rules(parameters.required("symbol")), parameters.limit()
        first = parameters.number("fromId")
        parameters.end()
        until = self._until()
        if first is None:
            fills = self._ledger.newest_fills(rules.symbol, limit, until)
        else:
            fills = list(islice(self._ledger.fills_from(rules.symbol, first, until), limit))
        return self._rows(rules.symbol, fills, parameters.unit)

    def _rows(self, symbol: str, fills: Sequence[Fill], unit: int) -> str:
        if any(fill.first_id != fill.last_id for fill in fills):
            raise RequestError(-1002, "This recording holds aggregates that cannot be split: use aggTrades.", 401)
        shown = (fill for fill in fills if not self.hides(symbol, fill.first_id, fill.last_id))
        return self._page([self.state_trade(symbol, trade_row(fill, unit)) for fill in shown])

    async def _aggregates(self, parameters: "_Parameters") -> str:
        rules, limit = self._rules(parameters.required("symbol")), parameters.limit()
        first = parameters.number("fromId")
        start, end = parameters.time("startTime"), parameters.last_time("endTime")
        parameters.end()
        until, symbol, ledger = self._until(), rules.symbol, self._ledger
        if first is not None:
            if start is not None or end is not None:
                raise RequestError(-1128, "Combination of optional parameters invalid.")
            found = list(islice(ledger.aggregates_from(symbol, first, until), limit))
        elif start is not None:
            last = until if end is None else min(until, end)
            if end is not None and start > end:
                raise RequestError(-1023, "Start time is greater than end time.")
            found = list(islice(ledger.aggregates_between(symbol, start, last + 1), limit))
        else:
            found = ledger.newest_aggregates(symbol, limit, until if end is None else min(until, end))
        shown = (fills for fills in found if not self.hides(symbol, fills[0].first_id, fills[-1].last_id))
        return self._page([self.state_trade(symbol, aggregate_row(fills, parameters.unit)) for fills in shown])

    async def _klines(self, parameters: "_Parameters") -> str:
        symbol = self._rules(parameters.required("symbol")).symbol
        interval = INTERVALS.get(parameters.required("interval"))
        limit = parameters.limit()
        start, end = parameters.time("startTime"), parameters.last_time("endTime")
        zone = parameters.text("timeZone")
        parameters.end()
        if interval is None:
            raise RequestError(-1120, "Invalid interval.")
        if zone not in (None, "0", "00:00"):
            raise RequestError(-1130, "Data sent for parameter 'timeZone' is not valid.")
        until = self._until()
        rows: list[str] = []
        last = until if end is None else min(until, end)
        market = self._ledger.market
        earliest = interval.floor(market.block_start(symbol, market.blocks(symbol).start))
        newest_first = start is None
        open_times = (
            _backward(interval, earliest, last) if start is None else _onward(interval, max(start, earliest), last)
        )
        for open_time in open_times:
            kline = await self._kline(symbol, open_time, interval.end(open_time), until)
            if kline is not None:
                rows.append(self.tell_kline(symbol, open_time, kline_row(kline, parameters.unit)))
                if len(rows) == limit:
                    break
            await trio.lowlevel.checkpoint()
        return self._page(rows[::-1] if newest_first else rows)

    async def _kline(self, symbol: str, start: int, end: int, until: int) -> Kline | None:
        """Compute one kline, yielding to other tasks during long ones."""
        steps = self._ledger.kline_steps(symbol, start, end, until)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                kline: Kline | None = done.value
                return kline
            await trio.lowlevel.checkpoint()


class _Parameters:
    """A request's parameters; an unread one is an error, as in the original."""

    def __init__(self, request: Request) -> None:
        pairs = parse_qsl(request.query, keep_blank_values=True)
        self._sent = dict(pairs)
        self._read: set[str] = set()
        if len(self._sent) != len(pairs):
            raise RequestError(-1101, "Duplicate values for a parameter detected.")
        in_microseconds = request.headers.get("x-mbx-time-unit", "").upper() == "MICROSECOND"
        self.unit = MICROSECOND if in_microseconds else MILLISECOND
        """Microseconds in the unit of times in the answer."""

    def text(self, name: str) -> str | None:
        self._read.add(name)
        return self._sent.get(name)

    def required(self, name: str) -> str:
        value = self.text(name)
        if not value:
            raise RequestError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        return value

    def number(self, name: str) -> int | None:
        value = self.text(name)
        if value is None:
            return None
        if not (value.isascii() and value.isdigit() and len(value) <= 20):
            raise RequestError(
                -1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'."
            )
        return int(value)

    def limit(self) -> int:
        value = self.number("limit")
        if value == 0:
            raise RequestError(-1130, "Data sent for parameter 'limit' is not valid.")
        return min(value or _DEFAULT_LIMIT, _HIGHEST_LIMIT)

    def time(self, name: str) -> int | None:
        """Return a time parameter in microseconds, given in milliseconds or microseconds."""
        value = self.number(name)
        return value * MILLISECOND if value is not None and value < _MICROSECONDS_FROM else value

    def last_time(self, name: str) -> int | None:
        """Return the last instant of a time parameter's unit, since the end of a range is inclusive."""
        value = self.number(name)
        return (value + 1) * MILLISECOND - 1 if value is not None and value < _MICROSECONDS_FROM else value

    def end(self) -> None:
        """Check that every parameter was read.

        Raises:
            RequestError: a parameter was sent that this endpoint does not know.
        """
        unread = self._sent.keys() - self._read
        if unread and not self._read:
            raise RequestError(-1101, f"Too many parameters; expected '0' and received '{len(self._sent)}'.")
        if unread:
            read = len(self._sent) - len(unread)
            raise RequestError(
                -1104,
                f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{len(self._sent)}'.",
            )


def refuse(refusal: Refusal, limit: int, now: int) -> Answer:
    """Build the answer to a client over its weight limit; ``now`` is exchange time in microseconds."""
    if refusal.status == 418:
        until = now // MILLISECOND + refusal.retry_after_s * 1000
        message = f"Way too much request weight used; IP banned until {until}. Please use WebSocket Streams."
    else:
        message = f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE."
    return attrs.evolve(
        RequestError(-1003, message, refusal.status).answer(),
        headers=(("Retry-After", str(refusal.retry_after_s)),),
    )


def _onward(interval: Interval, start: int, last: int) -> Iterator[int]:
    if start > last:
        return  # it may be beyond any calendar
    open_time = interval.floor(start)
    if open_time < start:
        open_time = interval.end(open_time)
    while open_time <= last:
        yield open_time
        open_time = interval.end(open_time)


def _backward(interval: Interval, earliest: int, last: int) -> Iterator[int]:
    open_time = interval.floor(last)
    while open_time >= earliest:
        yield open_time
        open_time = interval.floor(open_time - 1)


def _is_symbol(name: str) -> bool:
    return len(name) <= 50 and not any("a" <= letter <= "z" for letter in name) and bool(_SYMBOL.fullmatch(name))


_Endpoint = Callable[[_Parameters], Awaitable[str]]
