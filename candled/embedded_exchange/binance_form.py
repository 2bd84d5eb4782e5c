"""The wire form of Binance spot: combined streams, control messages, errors with codes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote

import msgspec

from candled.embedded_exchange.rest import RequestError, Rest, refuse
from candled.embedded_exchange.rest_side import Answer, Request
from candled.embedded_exchange.streams import Feeder
from candled.embedded_exchange.weights import Refusal, WeightLimit
from candled.embedded_exchange.wire import MICROSECOND, MILLISECOND, shutdown_event

if TYPE_CHECKING:
    from candled.embedded_exchange.core import Exchange
    from candled.embedded_exchange.form import Streams

_METHODS: Final = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_RETRY_AFTER_S: Final = 5
"""Answers of 429 and 418 as faults."""


class BinanceForm:
    """See ``Form``."""

    fills_halts = False

    def __init__(self, exchange: "Exchange") -> None:
        self._exchange = exchange
        limits, clock = exchange.limits, exchange.clock
        self.rest = Rest(exchange.ledger, clock, WeightLimit(limits.weight_per_minute, clock.monotonic))

    def open_streams(self, path: str, query: str) -> "Streams | Answer":
        """See ``Form``."""
        exchange, parameters = self._exchange, dict(parse_qsl(query))
        kind, _, name = path.strip("/").partition("/")
        if kind not in {"ws", "stream"}:
            return Answer(status=404, content_type="text/html")
        names = parameters.get("streams", "").split("/") if kind == "stream" else unquote(name).split("/")
        names = [name for name in names if name]
        if len(names) > exchange.limits.streams:
            return Answer(status=400, body=b"too many streams", content_type="text/plain")
        in_microseconds = parameters.get("timeUnit", "").upper() == "MICROSECOND"
        unit = MICROSECOND if in_microseconds else MILLISECOND
        streams = BinanceStreams(exchange, is_combined=kind == "stream", unit=unit)
        streams.subscribe(names, exchange.clock.now())
        return streams

    def failure(self, status: int) -> Answer:
        """See ``Form``."""
        if status in {418, 429}:
            refusal = Refusal(status, _RETRY_AFTER_S)
            return refuse(refusal, self._exchange.limits.weight_per_minute, self._exchange.clock.now())
        if status == 403:  # of a firewall in front of the original
            return Answer(status=403, body=b"<html></html>", content_type="text/html")
        if status == 451:
            return RequestError(0, "Service unavailable from a restricted location.", status).answer()
        return RequestError(-1000, "An unknown error occurred while processing the request.", status).answer()

    def refusal(self, request: Request) -> Answer | None:
        """See ``Form``."""
        faults, now = self._exchange.faults, self._exchange.clock.monotonic()
        if request.path == "/api/v3/historicalTrades" and faults.is_on("rest_key", now):
            return RequestError(-2014, "API-key format invalid.", 401).answer()
        return None


class BinanceStreams(Feeder):
    """See ``Streams``."""

    def __init__(self, exchange: "Exchange", *, is_combined: bool, unit: int) -> None:
        super().__init__(exchange.ledger, exchange.frames, is_combined=is_combined, unit=unit)
        self._exchange = exchange

    def shutdown_notices(self) -> list[str]:
        """See ``Streams``."""
        return [self.wrap("!serverShutdown", shutdown_event(self._exchange.clock.now(), self.unit))]

    def answer(self, text: str) -> list[str]:
        """See ``Streams``."""
        return [self._answer(text)]

    def _answer(self, text: str) -> str:
        try:
            message = msgspec.json.decode(text)
        except msgspec.DecodeError:
            return _error(3, "Invalid JSON: expected value at line 1 column 1", None)
        if not isinstance(message, dict) or not isinstance(message.get("method"), str):
            return _error(2, "Invalid request: missing field `method`", None)
        number, method, parameters = message.get("id"), message["method"], message.get("params", [])
        if method not in _METHODS:
            expected = ", ".join(f"`{known}`" for known in _METHODS)
            return _error(2, f"Invalid request: unknown variant `{method}`, expected one of {expected}", number)
        if not isinstance(parameters, list):
            return _error(2, "Invalid request: params must be a list", number)
        if method == "LIST_SUBSCRIPTIONS":
            return _result(self.names, number)
        if method.endswith("PROPERTY"):
            return self._property(method, parameters, number)
        if not all(isinstance(name, str) for name in parameters):
            return _error(2, "Invalid request: stream names must be strings", number)
        if method == "SUBSCRIBE":
            if len({*self.names, *parameters}) > self._exchange.limits.streams:
                return _error(2, f"Invalid request: more than {self._exchange.limits.streams} streams", number)
            self.subscribe(parameters, self._exchange.clock.now())
            self._exchange.subscribed()
        else:
            self.unsubscribe(parameters)
        return _result(None, number)

    def _property(self, method: str, parameters: Sequence[Any], number: Any) -> str:
        if not parameters or parameters[0] != "combined":
            return _error(0, "Unknown property", number)
        if method == "GET_PROPERTY":
            return _result(self.is_combined, number)
        if len(parameters) != 2 or not isinstance(parameters[1], bool):
            return _error(1, "Invalid value type: expected Boolean", number)
        self.is_combined = parameters[1]
        return _result(None, number)


def _result(result: list[str] | bool | None, number: Any) -> str:
    return msgspec.json.encode({"result": result, "id": number}).decode()


def _error(code: int, message: str, number: Any) -> str:
    return msgspec.json.encode({"error": {"code": code, "msg": message}, "id": number}).decode()
