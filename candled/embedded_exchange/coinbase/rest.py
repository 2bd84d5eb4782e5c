"""REST API of Coinbase Exchange: products, trades by cursor, candles, time. A request in, an answer out."""

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
import trio

from candled.embedded_exchange.clock import ExchangeClock
from candled.embedded_exchange.coinbase.rates import RequestRates
from candled.embedded_exchange.coinbase.wire import candle_row, trade_row
from candled.embedded_exchange.ledger import Ledger
from candled.embedded_exchange.market import SymbolRules
from candled.embedded_exchange.rest_side import Answer, Request, RestSide
from candled.embedded_exchange.units import decimal_text, read_time, time_text

_PAGE: Final = 1000
_CANDLES: Final = 300
_GRANULARITIES_S: Final = frozenset({60, 300, 900, 3600, 21600, 86400})
_PATH: Final = re.compile(r"/products/([^/]+)(?:/(trades|candles))?")
_IDENTITY_HEADER: Final = "x-candled-exchange"
_SECOND: Final = 1_000_000


class _RequestError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class CoinbaseRestSide(RestSide):
    """The public endpoints. Faults leave candles alone: they carry too little to make a bar of."""

    def __init__(self, ledger: Ledger, clock: ExchangeClock, rates: RequestRates) -> None:
        """Answer from ``ledger`` as of ``clock``, at most as often as ``rates`` allows."""
        super().__init__(ledger, clock)
        self._rates = rates

    async def answer(self, request: Request) -> Answer:
        """See ``RestSide``."""
        if not self._rates.admits(request.address):
            return failure(429, "Public rate limit exceeded")
        if "user-agent" not in request.headers:
            return failure(400, "User-Agent header is required.")
        try:
            body, headers = await self._answer(request)
        except _RequestError as error:
            return failure(error.status, str(error))
        identity = (_IDENTITY_HEADER, self._ledger.market.identity)
        return Answer(body=body.encode(), headers=(*headers, identity))

    async def _answer(self, request: Request) -> tuple[str, tuple[tuple[str, str], ...]]:
        if request.method != "GET":
            raise _RequestError(404, "NotFound")
        query = dict(parse_qsl(request.query, keep_blank_values=True))
        if request.path == "/time":
            now = self.server_time(self._clock.now())
            return f'{{"iso":"{time_text(now)}","epoch":{now // _SECOND}.{now // 1000 % 1000:03d}}}', ()
        if request.path == "/products":
            symbols = [rules for name, rules in self._ledger.symbols.items() if self.is_listed(name)]
            return msgspec.json.encode([self._product(rules) for rules in symbols]).decode(), ()
        match = _PATH.fullmatch(request.path)
        if match is None:
            raise _RequestError(404, "NotFound")
        rules = self._ledger.symbols.get(match[1])
        if rules is None or not self.is_listed(match[1]):
            raise _RequestError(404, "NotFound")
        if match[2] == "trades":
            return self._trades(rules.symbol, query)
        if match[2] == "candles":
            return await self._candles(rules.symbol, query), ()
        return msgspec.json.encode(self._product(rules)).decode(), ()

    def _product(self, rules: SymbolRules) -> dict[str, Any]:
        now = self._clock.now()
        return {
            "id": rules.symbol,
            "base_currency": rules.base_asset,
            "quote_currency": rules.quote_asset,
            "quote_increment": _short(rules.tick_size),
            "base_increment": _short(rules.step_size),
            "display_name": f"{rules.base_asset}/{rules.quote_asset}",
            "min_market_funds": "1",
            "margin_enabled": False,
            "post_only": False,
            "limit_only": False,
            "cancel_only": False,
            "status": "online",
            "status_message": "",
            "trading_disabled": not self._ledger.market.is_trading(rules.symbol, now, now + 1),
            "fx_stablecoin": False,
            "auction_mode": False,
        }

    def _trades(self, symbol: str, query: Mapping[str, str]) -> tuple[str, tuple[tuple[str, str], ...]]:
        limit = min(_number(query, "limit") or _PAGE, _PAGE)
        after, before = _number(query, "after"), _number(query, "before")
        until = self._until()
        found = self._ledger.fills_below(symbol, 2**62 if after is None else after, until)
        if before is not None:
            found = (fill for fill in islice(found, _PAGE) if fill.first_id > before)
        fills = list(islice(found, limit))
        if any(fill.first_id != fill.last_id for fill in fills):
            raise _RequestError(400, "This recording holds aggregates that cannot be split.")
        headers: tuple[tuple[str, str], ...] = ()
        if fills:
            headers = (("CB-BEFORE", str(fills[0].first_id)), ("CB-AFTER", str(fills[-1].first_id)))
        shown = (fill for fill in fills if not self.hides(symbol, fill.first_id, fill.last_id))
        return self._page([self.state_trade(symbol, trade_row(fill)) for fill in shown]), headers

    async def _candles(self, symbol: str, query: Mapping[str, str]) -> str:
        granularity = _number(query, "granularity")
        if granularity is None or granularity not in _GRANULARITIES_S:
            raise _RequestError(400, "Unsupported granularity")
        length = granularity * _SECOND
        try:
            last = read_time(query["end"]) if "end" in query else self._clock.now()
            start = read_time(query["start"]) if "start" in query else last - (_CANDLES - 1) * length
        except ValueError:
            raise _RequestError(400, "Invalid start or end") from None
        if (last - start) // length > _CANDLES:
            raise _RequestError(400, "granularity too small for the requested time range")
        until = self._until()
        rows = []
        for open_time in range(-(-start // length) * length, min(last, until) + 1, length):
            kline = self._ledger.kline(symbol, open_time, open_time + length, until)
            if kline is not None and kline.count:
                rows.append(candle_row(kline))
            await trio.lowlevel.checkpoint()
        return self._page(rows[::-1])


def failure(status: int, message: str) -> Answer:
    """Return an error in the original's form."""
    return Answer(status=status, body=msgspec.json.encode({"message": message}))


def _number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise _RequestError(400, f"Invalid {name}")
    return int(text)


def _short(units: int) -> str:
    return decimal_text(units).rstrip("0").rstrip(".")
