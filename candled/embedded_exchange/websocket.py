"""One stream connection, from the upgrade to its end."""

from collections import deque
from collections.abc import Sequence
from typing import Final

import h11
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.utilities import RemoteProtocolError

from candled.embedded_exchange.core import Exchange
from candled.embedded_exchange.disturbance import Outgoing
from candled.embedded_exchange.form import Streams

_BATCH: Final = 1000
"""Maximum number of messages in one write."""

_SHORTEST_NAP_S: Final = 0.0005
"""Messages due within this time are sent together."""

_ENDLESS_PART: Final = 65_536
_ENDLESS_PARTS: Final = 4_096
"""Of a message without end: 256 MiB, then the connection is cut."""

_FAREWELL_S: Final = 1.0
_POLICY_VIOLATION: Final = 1008
_GOING_AWAY: Final = 1001


class _CutError(Exception):
    """Ends this connection without a close frame."""


class WebSocketSession:
    """A client on a stream connection: its control messages, its streams, and its end."""

    def __init__(self, exchange: Exchange, stream: trio.abc.Stream, streams: Streams) -> None:
        """Make a session on ``stream`` after its upgrade request; ``streams``: what it is subscribed to."""
        self._exchange = exchange
        self._stream = stream
        self._streams = streams
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
        """When the oldest unanswered ping was sent, monotonic seconds."""
        self._life = trio.CancelScope()

    def wake(self) -> None:
        """Check again what is due."""
        self._woken.set()

    def strike(self, name: str) -> None:
        """Commit a fault on this connection now: ``cut``, ``half`` or ``shutdown``."""
        self._struck.append(name)
        self.wake()

    def rewind(self) -> None:
        """Recompute what comes next, after the market changed."""
        self._streams.rewind()

    async def run(self, request: h11.Request, already_read: bytes) -> None:
        """Serve the session until it ends, by either side.

        Raises:
            h11.RemoteProtocolError: the upgrade request is invalid; nothing was sent.
        """
        try:
            self._connection.initiate_upgrade_connection(list(request.headers), request.target)
        except (RemoteProtocolError, UnicodeError) as error:
            raise h11.RemoteProtocolError(str(error)) from None
        list(self._connection.events())
        await self._send(self._connection.send(AcceptConnection()))
        self._exchange.join(self)
        try:
            if self._streams.names:
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
            # No close frame: a fault cut the connection, or the client is gone.
            await trio.aclose_forcefully(self._stream)
        finally:
            self._exchange.leave(self)

    async def _send(self, data: bytes) -> None:
        async with self._sending:
            await self._stream.send_all(data)

    async def _close(self, code: int, reason: str) -> None:
        await self._send(self._connection.send(CloseConnection(code=code, reason=reason)))

    async def _listen(self, data: bytes) -> None:
        """Handle client messages until either side ends the session."""
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
        """Handle one event; return False when the session is over."""
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
                answers = self._streams.answer(text)
                await self._send(b"".join([text_frame(answer.encode()) for answer in answers]))
                self.wake()
        return True

    async def _play(self) -> None:
        """Send due messages until cancelled."""
        clock, streams, faults = self._exchange.clock, self._streams, self._exchange.faults
        while True:
            self._woken = trio.Event()
            for name in self._due_faults():
                await self._suffer(name)
            messages = streams.take(clock.now(), _BATCH)
            if faults.misdates_messages:
                misdated = self._exchange.misdating.message
                messages = [(symbol, misdated(symbol, text)) for symbol, text in messages]
            if faults.touches_messages or self._disturbance.next_release is not None:
                await self._send_disturbed(self._disturbance.pass_on(messages, clock.monotonic()))
            elif messages:
                await self._send(b"".join([text_frame(text.encode()) for _, text in messages]))
            if len(messages) < _BATCH:
                with trio.move_on_after(max(self._nap(), _SHORTEST_NAP_S)):
                    await self._woken.wait()

    def _nap(self) -> float:
        """Return the seconds until there is something to do."""
        clock, due, release = self._exchange.clock, self._streams.due, self._disturbance.next_release
        moments = [moment for moment in (release, *self._planned.values()) if moment is not None]
        nap = min(moments, default=float("inf")) - clock.monotonic()
        return nap if due is None else min(nap, clock.seconds_until(due))

    def _due_faults(self) -> list[str]:
        """Return the faults to commit now: commanded ones, and those whose time has come."""
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
            if message.endless:
                await self._send_without_end(b"".join(frames), message.text)
            frames.append(frame)
        if frames:
            await self._send(b"".join(frames))

    async def _send_without_end(self, before: bytes, text: str) -> None:
        """Begin a message, then send more and more of it until the client has had enough."""
        payload = text.encode()[:100]
        await self._send(before + bytes((0x01, len(payload))) + payload)
        more = b"\x00\x7f" + _ENDLESS_PART.to_bytes(8, "big") + b"x" * _ENDLESS_PART
        for _ in range(_ENDLESS_PARTS):
            await self._send(more)
            await trio.sleep(0.01)
        raise _CutError

    async def _suffer(self, name: str) -> None:
        if name == "cut":
            raise _CutError
        if name == "half":
            frame = text_frame(b'{"a message that ends":')
            await self._send(frame[: len(frame) // 2])
            raise _CutError
        await self._send(b"".join([text_frame(notice.encode()) for notice in self._streams.shutdown_notices()]))
        self._life.deadline = min(self._life.deadline, trio.current_time() + self._limits.shutdown_notice_s)

    async def _ping(self) -> None:
        """Send pings, and cut a client that does not answer them."""
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
                        raise _CutError  # its buffers are full: the client has stopped reading
            moments = (
                next_ping,
                next_ping if self._unanswered is None else self._unanswered + limits.pong_timeout_s,
            )
            await trio.sleep(max(0.0, min(moments) - clock.monotonic()))


def text_frame(payload: bytes) -> bytes:
    """Encode a server's text message in one frame (RFC 6455, 5.2), by hand because every trade needs one."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload
