"""One stream connection, from the upgrade to its end."""

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import h11
import msgspec
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.utilities import RemoteProtocolError

from candled.exchange.core import Exchange
from candled.exchange.faults import Outgoing
from candled.exchange.streams import Feeder
from candled.exchange.wire import shutdown_event

_BATCH: Final = 1000
"""Messages put into one write."""

_SHORTEST_NAP_S: Final = 0.0005
"""Messages due within it go out together."""

_FAREWELL_S: Final = 1.0
_POLICY_VIOLATION: Final = 1008
_GOING_AWAY: Final = 1001
_METHODS: Final = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")


class _CutError(Exception):
    """This connection is to end without a word."""


class WebSocketSession:
    """A client on a stream connection: what it asks for, what it is sent, and when it is cut."""

    def __init__(self, exchange: Exchange, stream: trio.abc.Stream, feeder: Feeder) -> None:
        """A session on ``stream``, whose upgrade was asked for; ``feeder`` has the streams of its address."""
        self._exchange = exchange
        self._stream = stream
        self._feeder = feeder
        self._limits = exchange.limits
        self._disturbance = exchange.disturbance()
        self._connection = WSConnection(ConnectionType.SERVER)
        self._sending = trio.Lock()
        self._woken = trio.Event()
        self._struck: list[str] = []
        self._planned: dict[str, float] = {}
        self._incoming: deque[float] = deque(maxlen=self._limits.messages_per_second)
        self._text = ""
        self._unanswered: float | None = None
        """When the oldest ping was sent that no pong came for, in monotonic seconds."""
        self._life = trio.CancelScope()

    def wake(self) -> None:
        """Look again at what is due."""
        self._woken.set()

    def strike(self, name: str) -> None:
        """Commit a fault on this connection now: ``cut``, ``half`` or ``shutdown``."""
        self._struck.append(name)
        self.wake()

    def rewind(self) -> None:
        """The market changed: look again at what comes next."""
        self._feeder.rewind()

    async def run(self, request: h11.Request, already_read: bytes) -> None:
        """Serve the session until it ends, by either side.

        Raises:
            h11.RemoteProtocolError: the upgrade was not asked for as it must be; nothing was sent.
        """
        try:
            self._connection.initiate_upgrade_connection(list(request.headers), request.target)
        except (RemoteProtocolError, UnicodeError) as error:
            raise h11.RemoteProtocolError(str(error)) from None
        list(self._connection.events())
        await self._send(self._connection.send(AcceptConnection()))
        self._exchange.join(self)
        try:
            if self._feeder.names:
                self._exchange.subscribed()
            self._life.deadline = trio.current_time() + self._limits.lifetime_s
            with self._life:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._ping)
                    nursery.start_soon(self._play)
                    await self._listen(already_read)
                    nursery.cancel_scope.cancel()
            if self._life.cancelled_caught:
                with trio.move_on_after(_FAREWELL_S):
                    await self._close(_GOING_AWAY, "This connection has reached its end, please connect again")
        except* (_CutError, trio.BrokenResourceError):
            # Nothing more can or shall be said: the fault cut it, or the client is gone.
            await trio.aclose_forcefully(self._stream)
        finally:
            self._exchange.leave(self)

    async def _send(self, data: bytes) -> None:
        async with self._sending:
            await self._stream.send_all(data)

    async def _close(self, code: int, reason: str) -> None:
        await self._send(self._connection.send(CloseConnection(code=code, reason=reason)))

    async def _listen(self, data: bytes) -> None:
        """Handle what the client sends, until it or the exchange ends the session."""
        while True:
            try:
                if data:
                    self._connection.receive_data(data)
                for event in self._connection.events():
                    if not await self._handle(event):
                        return
            except RemoteProtocolError as error:
                await self._close(1002, str(error)[:100])
                return
            data = bytes(await self._stream.receive_some())
            if not data:
                return

    async def _handle(self, event: Event) -> bool:
        """Handle one event; False when the session is over."""
        now = self._exchange.clock.monotonic()
        if isinstance(event, CloseConnection):
            if self._connection.state.name == "REMOTE_CLOSING":
                await self._send(self._connection.send(event.response()))
            return False
        if isinstance(event, (Ping, Pong, TextMessage)):
            if len(self._incoming) == self._incoming.maxlen and now - self._incoming[0] < 1.0:
                await self._close(_POLICY_VIOLATION, "Too many requests")
                return False
            self._incoming.append(now)
        if isinstance(event, Ping) and not self._exchange.faults.is_on("nopong", now):
            await self._send(self._connection.send(event.response()))
        elif isinstance(event, Pong):
            self._unanswered = None
        elif isinstance(event, TextMessage):
            self._text += event.data
            if event.message_finished:
                text, self._text = self._text, ""
                await self._send(text_frame(self._answer(text).encode()))
        return True

    def _answer(self, text: str) -> str:
        """The answer to a control message."""
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
            return _result(self._feeder.names, number)
        if method.endswith("PROPERTY"):
            return self._property(method, parameters, number)
        if not all(isinstance(name, str) for name in parameters):
            return _error(2, "Invalid request: stream names must be strings", number)
        if method == "SUBSCRIBE":
            if len({*self._feeder.names, *parameters}) > self._limits.streams:
                return _error(2, f"Invalid request: more than {self._limits.streams} streams", number)
            self._feeder.subscribe(parameters, self._exchange.clock.now())
            self._exchange.subscribed()
        else:
            self._feeder.unsubscribe(parameters)
        self.wake()
        return _result(None, number)

    def _property(self, method: str, parameters: Sequence[Any], number: Any) -> str:
        if not parameters or parameters[0] != "combined":
            return _error(0, "Unknown property", number)
        if method == "GET_PROPERTY":
            return _result(self._feeder.is_combined, number)
        if len(parameters) != 2 or not isinstance(parameters[1], bool):
            return _error(1, "Invalid value type: expected Boolean", number)
        self._feeder.is_combined = parameters[1]
        return _result(None, number)

    async def _play(self) -> None:
        """Send what is due, for ever."""
        clock, feeder, faults = self._exchange.clock, self._feeder, self._exchange.faults
        while True:
            self._woken = trio.Event()
            for name in self._due_faults():
                await self._suffer(name)
            messages = feeder.take(clock.now(), _BATCH)
            if faults.touches_messages or self._disturbance.next_release is not None:
                await self._send_disturbed(self._disturbance.pass_on(messages, clock.monotonic()))
            elif messages:
                await self._send(b"".join([text_frame(text.encode()) for _, text in messages]))
            if len(messages) < _BATCH:
                with trio.move_on_after(max(self._nap(), _SHORTEST_NAP_S)):
                    await self._woken.wait()

    def _nap(self) -> float:
        """Seconds until there is something to do."""
        clock, due, release = self._exchange.clock, self._feeder.due, self._disturbance.next_release
        moments = [moment for moment in (release, *self._planned.values()) if moment is not None]
        nap = min(moments, default=float("inf")) - clock.monotonic()
        return nap if due is None else min(nap, clock.seconds_until(due))

    def _due_faults(self) -> list[str]:
        """Faults to commit now: commanded ones, and those whose time has come."""
        now, faults = self._exchange.clock.monotonic(), self._exchange.faults
        due, self._struck = self._struck, []
        for name in ("cut", "shutdown"):
            seconds = faults.seconds(name)
            if not seconds:
                self._planned.pop(name, None)
            elif name not in self._planned:
                self._planned[name] = now + seconds * self._disturbance.stretch(name)
            elif self._planned[name] <= now:
                self._planned[name] = float("inf")
                due.append(name)
        return due

    async def _send_disturbed(self, messages: Sequence[Outgoing]) -> None:
        frames: list[bytes] = []
        for message in messages:
            frame = text_frame(message.text.encode())
            if message.half:
                await self._send(b"".join([*frames, frame[: len(frame) // 2]]))
                raise _CutError
            frames.append(frame)
        if frames:
            await self._send(b"".join(frames))

    async def _suffer(self, name: str) -> None:
        if name == "cut":
            raise _CutError
        if name == "half":
            frame = text_frame(b'{"e":"trade","E":')
            await self._send(frame[: len(frame) // 2])
            raise _CutError
        event = shutdown_event(self._exchange.clock.now(), self._feeder.unit)
        await self._send(text_frame(self._feeder.wrap("!serverShutdown", event).encode()))
        self._life.deadline = min(self._life.deadline, trio.current_time() + self._limits.shutdown_notice_s)

    async def _ping(self) -> None:
        """Ask for a sign of life now and then, and cut a client that gives none."""
        clock, limits = self._exchange.clock, self._limits
        next_ping = clock.monotonic() + limits.ping_interval_s
        while True:
            now = clock.monotonic()
            if self._unanswered is not None and now >= self._unanswered + limits.pong_timeout_s:
                raise _CutError
            if now >= next_ping:
                next_ping += limits.ping_interval_s
                if not self._exchange.faults.is_on("nopong", now):
                    self._unanswered = now if self._unanswered is None else self._unanswered
                    ping = self._connection.send(Ping(payload=str(clock.now() // 1000).encode()))
                    with trio.move_on_at(
                        trio.current_time() + self._unanswered + limits.pong_timeout_s - now
                    ) as wait:
                        await self._send(ping)
                    if wait.cancelled_caught:
                        raise _CutError  # its buffers are full: it reads nothing any more
            moments = (
                next_ping,
                next_ping if self._unanswered is None else self._unanswered + limits.pong_timeout_s,
            )
            await trio.sleep(max(0.0, min(moments) - clock.monotonic()))


def text_frame(payload: bytes) -> bytes:
    """A text message of a server in one frame (RFC 6455, 5.2). By hand, since it is made for every trade."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def _result(result: list[str] | bool | None, number: Any) -> str:
    return msgspec.json.encode({"result": result, "id": number}).decode()


def _error(code: int, message: str, number: Any) -> str:
    return msgspec.json.encode({"error": {"code": code, "msg": message}, "id": number}).decode()
