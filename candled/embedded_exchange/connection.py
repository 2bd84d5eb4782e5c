"""One connection, REST or stream, over any Trio stream: a socket or memory."""

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import attrs
import h11
import msgspec
import trio

from candled.embedded_exchange.faults import Faults
from candled.embedded_exchange.rest_side import Answer, Request
from candled.embedded_exchange.websocket import WebSocketSession

if TYPE_CHECKING:
    from candled.embedded_exchange.core import Exchange

_LARGEST_BODY: Final = 65_536
_READ_SIZE: Final = 65_536
_IDLE_S: Final = 75.0
"""Seconds that a REST connection may be idle between requests."""

_ENDLESS_S: Final = 600.0
"""What no client waits for."""


class _HalfAnswerError(Exception):
    """A fault has ended this connection within an answer."""


async def serve_connection(exchange: "Exchange", stream: trio.abc.Stream, address: str) -> None:
    """Serve one client until either side ends it, then close ``stream``.

    Args:
        exchange: The exchange to serve from.
        stream: The connection; it is closed in any case.
        address: Client address that requests are charged to.
    """
    async with stream:
        try:
            await _Http(exchange, stream, address).serve()
        except (trio.BrokenResourceError, _HalfAnswerError):
            return  # the client is gone, or a fault makes the exchange appear gone


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

    async def _send_without_end(self, answer: Answer) -> None:
        """Begin the answer, then send a byte a second until the client has had enough."""
        headers = [("Content-Type", answer.content_type), ("Transfer-Encoding", "chunked"), *answer.headers]
        send = self._connection.send
        data = send(h11.Response(status_code=200, headers=headers))
        await self._stream.send_all(data + send(h11.Data(data=answer.body[: len(answer.body) // 2] or b" ")))
        with trio.move_on_after(_ENDLESS_S):
            while True:
                await self._stream.send_all(send(h11.Data(data=b" ")))
                await trio.sleep(1)
        raise _HalfAnswerError

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
        """Answer from REST, unless a fault intervenes."""
        exchange, faults = self._exchange, self._exchange.faults
        delay = faults.seconds("rest_delay")
        if delay:
            await trio.sleep(delay)
        for name in ("rest_500", "rest_429", "rest_418", "rest_403", "rest_451"):
            if exchange.happens(name):
                failure = _with_headers(exchange.form.failure(int(name.removeprefix("rest_"))), faults)
                return exchange.liar.of_headers(failure)
        if (refusal := exchange.form.refusal(request)) is not None:
            return refusal
        answer = exchange.liar.of_answer(_with_headers(await exchange.rest.answer(request), faults))
        if exchange.happens("rest_endless"):
            await self._send_without_end(answer)
        if exchange.happens("rest_half"):
            await self._send(answer, half=True)
        return answer

    async def _upgrade(self, event: h11.Request) -> None:
        exchange = self._exchange
        target = event.target.decode("latin-1")
        path, _, query = target.partition("?")
        if not exchange.admit(self._address):
            await self._send(exchange.form.failure(exchange.refusal_status or 429))
            return
        streams = exchange.form.open_streams(path, query)
        if isinstance(streams, Answer):
            await self._send(streams)
            return
        session = WebSocketSession(exchange, self._stream, streams)
        await session.run(event, self._connection.trailing_data[0])


def _is_upgrade(event: h11.Request) -> bool:
    return any(name == b"upgrade" and value.lower() == b"websocket" for name, value in event.headers)


def _with_headers(answer: Answer, faults: Faults) -> Answer:
    """Return the answer with the header values that faults set."""
    overrides = {"x-mbx-used-weight-1m": faults.value("rest_weight"), "retry-after": faults.value("rest_retry")}
    headers = tuple((name, overrides.get(name.lower()) or value) for name, value in answer.headers)
    return attrs.evolve(answer, headers=headers)


def _control(exchange: "Exchange", request: Request) -> Answer:
    """Handle the embedded exchange's own control endpoints, which the original does not have."""
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
