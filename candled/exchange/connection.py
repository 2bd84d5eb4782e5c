"""One connection, REST or stream, over any Trio stream: a socket or memory."""

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote

import h11
import msgspec
import trio

from candled.exchange.rest import Answer, Request, RequestError, refuse
from candled.exchange.streams import Feeder
from candled.exchange.websocket import WebSocketSession
from candled.exchange.weights import Refusal
from candled.exchange.wire import MICROSECOND, MILLISECOND

if TYPE_CHECKING:
    from candled.exchange.core import Exchange

_LARGEST_BODY: Final = 65_536
_READ_SIZE: Final = 65_536
_IDLE_S: Final = 75.0
"""How long a REST connection may stay silent between requests."""

_RETRY_AFTER_S: Final = 5
"""What 429 and 418 say when they are faults."""


class _HalfAnswerError(Exception):
    """The fault of half an answer has ended this connection."""


async def serve_connection(exchange: "Exchange", stream: trio.abc.Stream, address: str) -> None:
    """Serve one client until either side ends it, then close ``stream``.

    Args:
        exchange: The exchange to serve from.
        stream: The connection; it is closed in any case.
        address: Whom requests are counted for.
    """
    async with stream:
        try:
            await _Http(exchange, stream, address).serve()
        except (trio.BrokenResourceError, _HalfAnswerError):
            return  # the client is gone, or shall believe that the exchange is


class _Http:
    def __init__(self, exchange: "Exchange", stream: trio.abc.Stream, address: str) -> None:
        self._exchange = exchange
        self._stream = stream
        self._address = address
        self._connection = h11.Connection(h11.SERVER)

    async def serve(self) -> None:
        connection = self._connection
        while True:
            try:
                with trio.move_on_after(_IDLE_S) as idle:
                    event = await self._next_event()
                if idle.cancelled_caught or not isinstance(event, h11.Request):
                    return
                if _is_upgrade(event):
                    await self._upgrade(event)
                    return
                answer = await self._answer(event, await self._body())
            except h11.RemoteProtocolError as error:
                answer = Answer(status=error.error_status_hint, body=b"")
                if connection.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
                    return
            await self._send(answer)
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return
            connection.start_next_cycle()

    async def _next_event(self) -> object:
        while True:
            event = self._connection.next_event()
            if event is not h11.NEED_DATA:
                return event
            self._connection.receive_data(bytes(await self._stream.receive_some(_READ_SIZE)))

    async def _body(self) -> bytes:
        body = b""
        while True:
            event = await self._next_event()
            if isinstance(event, h11.Data):
                body += event.data
                if len(body) > _LARGEST_BODY:
                    raise h11.RemoteProtocolError("the body is too large", error_status_hint=413)
            else:
                return body

    async def _send(self, answer: Answer, *, half: bool = False) -> None:
        headers = [
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(answer.body))),
            *answer.headers,
        ]
        send = self._connection.send
        data = send(h11.Response(status_code=answer.status, headers=headers))
        data += send(h11.Data(data=answer.body)) + send(h11.EndOfMessage())
        if half:
            await self._stream.send_all(data[: len(data) - len(answer.body) // 2 - 1])
            raise _HalfAnswerError
        await self._stream.send_all(data)

    async def _answer(self, event: h11.Request, body: bytes) -> Answer:
        target = event.target.decode("latin-1")
        path, _, query = target.partition("?")
        request = Request(
            method=event.method.decode("ascii"),
            path=unquote(path),
            query=query,
            headers={name.decode("ascii"): value.decode("latin-1") for name, value in event.headers},
            body=body,
            address=self._address,
        )
        if request.path in {"/faults", "/replay/start"}:
            return _control(self._exchange, request)
        return await self._rest(request)

    async def _rest(self, request: Request) -> Answer:
        """Answer from REST, unless a fault gets in between."""
        exchange, faults = self._exchange, self._exchange.faults
        delay = faults.seconds("rest_delay")
        if delay:
            await trio.sleep(delay)
        for name in ("rest_500", "rest_429", "rest_418"):
            if exchange.happens(name):
                return _failure(exchange, int(name.removeprefix("rest_")))
        answer = await exchange.rest.answer(request)
        if exchange.happens("rest_half"):
            await self._send(answer, half=True)
        return answer

    async def _upgrade(self, event: h11.Request) -> None:
        exchange = self._exchange
        target = event.target.decode("latin-1")
        path, _, query = target.partition("?")
        parameters = dict(parse_qsl(query))
        kind, _, name = path.strip("/").partition("/")
        if kind not in {"ws", "stream"}:
            await self._send(Answer(status=404, content_type="text/html"))
            return
        if not exchange.admit(self._address):
            await self._send(_failure(exchange, 429 if not exchange.refuses else 503))
            return
        names = parameters.get("streams", "").split("/") if kind == "stream" else unquote(name).split("/")
        names = [name for name in names if name]
        if len(names) > exchange.limits.streams:
            await self._send(Answer(status=400, body=b"too many streams", content_type="text/plain"))
            return
        in_microseconds = parameters.get("timeUnit", "").upper() == "MICROSECOND"
        feeder = Feeder(
            exchange.ledger,
            exchange.frames,
            is_combined=kind == "stream",
            unit=MICROSECOND if in_microseconds else MILLISECOND,
        )
        feeder.subscribe(names, exchange.clock.now())
        session = WebSocketSession(exchange, self._stream, feeder)
        await session.run(event, self._connection.trailing_data[0])


def _is_upgrade(event: h11.Request) -> bool:
    return any(name == b"upgrade" and value.lower() == b"websocket" for name, value in event.headers)


def _failure(exchange: "Exchange", status: int) -> Answer:
    if status in {418, 429}:
        refusal = Refusal(status, _RETRY_AFTER_S)
        return refuse(refusal, exchange.limits.weight_per_minute, exchange.clock.now())
    return RequestError(-1000, "An unknown error occurred while processing the request.", status).answer()


def _control(exchange: "Exchange", request: Request) -> Answer:
    """The exchange's own controls, which the original does not have."""
    if request.path == "/replay/start" and request.method == "POST":
        exchange.start()
    elif request.path == "/faults" and request.method == "POST":
        try:
            exchange.command(request.body.decode("utf-8", "replace"))
        except ValueError as error:
            return Answer(status=400, body=msgspec.json.encode({"error": str(error)}))
    elif request.method != "GET":
        return Answer(status=405)
    state = {
        "faults": str(exchange.faults),
        "time": exchange.clock.now(),
        "running": exchange.clock.running,
        "sessions": exchange.sessions,
    }
    return Answer(body=msgspec.json.encode(state))
