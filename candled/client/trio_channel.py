"""gRPC calls over HTTP/2 on a Trio stream: only what a client needs; h2 implements the protocol."""

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final
from urllib.parse import unquote

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import trio

from candled.client.calls import CONNECT_SECONDS, no_answer, no_grpc, parse_address
from candled.client.model import ClientError

_WINDOW: Final = 1 << 20
_MESSAGE_MAX: Final = 64 << 20
_READ: Final = 65_536
_PING: Final = b"\0" * 8
_STATUS_NAMES: Final = dict(
    enumerate(
        (
            "OK",
            "CANCELLED",
            "UNKNOWN",
            "INVALID_ARGUMENT",
            "DEADLINE_EXCEEDED",
            "NOT_FOUND",
            "ALREADY_EXISTS",
            "PERMISSION_DENIED",
            "RESOURCE_EXHAUSTED",
            "FAILED_PRECONDITION",
            "ABORTED",
            "OUT_OF_RANGE",
            "UNIMPLEMENTED",
            "INTERNAL",
            "UNAVAILABLE",
            "DATA_LOSS",
            "UNAUTHENTICATED",
        )
    )
)


class Deframer:
    """Splits the bytes of a gRPC body into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Add bytes and return the messages that are complete now.

        Raises:
            ClientError: compressed, or larger than any answer of this service.
        """
        buffer = self._buffer
        buffer += data
        messages = []
        while len(buffer) >= 5:
            length = int.from_bytes(buffer[1:5], "big")
            if buffer[0] or length > _MESSAGE_MAX:
                raise ClientError("INTERNAL", "the server sent a message that is compressed or too large")
            if len(buffer) < 5 + length:
                break
            messages.append(bytes(buffer[5 : 5 + length]))
            del buffer[: 5 + length]
        return messages


class Call:
    """One call: the messages of its response, then its status."""

    def __init__(self, connection: "Connection", stream_id: int) -> None:
        self.stream_id = stream_id
        self.metadata: dict[str, str] = {}
        """Initial metadata, once ``opened`` is set."""
        self.opened = trio.Event()
        self._connection = connection
        self._deframer = Deframer()
        self._arrived = trio.Event()
        self._messages: list[tuple[bytes, int]] = []
        self._error: ClientError | None = None
        self._ended = False

    def __aiter__(self) -> "Call":
        return self

    async def __anext__(self) -> bytes:
        while not self._messages:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            self._arrived = trio.Event()
            await self._arrived.wait()
        message, size = self._messages.pop(0)
        # Only what is consumed is acknowledged: a slow reader slows the server down, not its own memory up.
        self._connection.acknowledge(self.stream_id, size)
        return message

    def headers(self, headers: Sequence[tuple[Any, ...]]) -> None:
        """Handle initial metadata or trailers."""
        fields: dict[str, str] = dict(headers)
        status = fields.get("grpc-status")
        if status is None and fields.get(":status") == "200":
            self.metadata = fields
        elif status is None:
            self.fail(no_grpc(self._connection.address, fields.get(":status")))
        elif status != "0":
            name = (
                _STATUS_NAMES[int(status)] if status.isdigit() and int(status) < len(_STATUS_NAMES) else "UNKNOWN"
            )
            self.fail(ClientError(name, unquote(fields.get("grpc-message", ""))))
        self.opened.set()

    def data(self, data: bytes, size: int) -> None:
        """Handle a part of the body; ``size`` counts against flow control."""
        try:
            messages = self._deframer.feed(data)
        except ClientError as error:
            self.fail(error)
            return
        if messages:
            self._messages += [(message, 0) for message in messages[:-1]]
            self._messages.append((messages[-1], size))
            self._arrived.set()
        else:
            self._connection.acknowledge(self.stream_id, size)

    def end(self) -> None:
        """Handle the end of the stream."""
        self._ended = True
        self._arrived.set()
        self.opened.set()

    def fail(self, error: ClientError) -> None:
        """End the call with an error."""
        if self._error is None and not self._ended:
            self._error = error
        self._arrived.set()
        self.opened.set()


class Connection:
    """One HTTP/2 connection with its calls. Its two tasks own the stream; calls only touch memory."""

    def __init__(self, stream: trio.abc.Stream, address: str, *, secure: bool) -> None:
        self.lost: ClientError | None = None
        self.data_at = 0.0
        """When data came last, or the first call was made; Trio's time."""
        self._stream = stream
        self.address = address
        self._scheme = "https" if secure else "http"
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self._calls: dict[int, Call] = {}
        self._to_write = trio.Event()
        self._changed = trio.Event()
        self._heard = trio.Event()
        self._called = trio.Event()
        self._scope = trio.CancelScope()
        self._is_retired = False
        self._h2.initiate_connection()
        self._h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW})
        self._h2.increment_flow_control_window(_WINDOW)
        self._to_write.set()

    async def greet(self) -> None:
        """Wait for the server's first frame: the system accepts connections for a process that is stopped.

        Raises:
            ClientError: UNAVAILABLE, it does not speak HTTP/2.
        """
        try:
            await self._stream.send_all(self._h2.data_to_send())
            data = await self._stream.receive_some(_READ)
            self._h2.receive_data(bytes(data))
        except (trio.BrokenResourceError, h2.exceptions.ProtocolError) as error:
            raise no_answer(self.address, error) from None
        if not data:
            raise no_answer(self.address, None)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the connection until it breaks, or was left."""
        reason: BaseException | None = None
        try:
            with self._scope:
                async with self._stream, trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    task_status.started()
                    reason = await self._read()
                    nursery.cancel_scope.cancel()
        finally:
            self._lose(reason)

    def leave(self, reason: ClientError) -> None:
        """End the connection and every call on it."""
        self.lost = self.lost or reason
        self._scope.cancel()

    def retire(self) -> None:
        """End the connection once its last call has ended."""
        self._is_retired = True
        if not self._calls:
            self._scope.cancel()

    @property
    def is_busy(self) -> bool:
        """Whether a call is open."""
        return bool(self._calls)

    async def called(self) -> None:
        """Return once a call is open, or the connection is lost."""
        while not self._calls and self.lost is None:
            self._called = trio.Event()
            await self._called.wait()

    def ping(self) -> None:
        """Ask the server for a sign of life."""
        with suppress(h2.exceptions.H2Error):  # else it is lost, and the reader sees it
            self._h2.ping(_PING)
            self._to_write.set()

    async def heard(self) -> None:
        """Return once anything comes from the server, or the connection is lost."""
        if self.lost is None:
            await self._heard.wait()

    async def aclose(self) -> None:
        """Close a connection that does not run."""
        await trio.aclose_forcefully(self._stream)

    @asynccontextmanager
    async def call(self, path: str, request: bytes, metadata: Sequence[tuple[str, str]]) -> AsyncIterator[Call]:
        """Make a call; leaving early cancels it."""
        if self.lost is not None:
            raise self.lost
        try:
            stream_id = self._h2.get_next_available_stream_id()
            self._h2.send_headers(
                stream_id,
                [
                    (":method", "POST"),
                    (":scheme", self._scheme),
                    (":path", path),
                    (":authority", self.address),
                    ("te", "trailers"),
                    ("content-type", "application/grpc+proto"),
                    ("user-agent", "candled-client"),
                    *metadata,
                ],
            )
        except h2.exceptions.H2Error as error:
            raise ClientError("RESOURCE_EXHAUSTED", f"the connection takes no more calls: {error}") from None
        if not self._calls:
            self.data_at = trio.current_time()
        call = self._calls[stream_id] = Call(self, stream_id)
        self._called.set()
        try:
            await self._send_body(stream_id, b"\0" + len(request).to_bytes(4, "big") + request)
            yield call
        finally:
            if self._calls.pop(stream_id, None) is not None and self.lost is None:
                self._reset(stream_id)
            if self._is_retired and not self._calls:
                self._scope.cancel()

    def acknowledge(self, stream_id: int, size: int) -> None:
        """Acknowledge ``size`` bytes of a call's body that the reader has consumed."""
        if size and self.lost is None:
            try:
                self._h2.acknowledge_received_data(size, stream_id)
            except h2.exceptions.H2Error:  # the stream has ended meanwhile
                return
            self._to_write.set()

    async def _send_body(self, stream_id: int, body: bytes) -> None:
        while True:
            if self.lost is not None:
                raise self.lost
            self._changed = trio.Event()
            try:
                room = min(self._h2.local_flow_control_window(stream_id), self._h2.max_outbound_frame_size)
                if room > 0:
                    chunk, body = body[:room], body[room:]
                    self._h2.send_data(stream_id, chunk, end_stream=not body)
                    self._to_write.set()
            except h2.exceptions.H2Error:  # already refused: the call has the reason
                return
            if not body:
                return
            if room <= 0:
                await self._changed.wait()

    def _reset(self, stream_id: int) -> None:
        try:
            self._h2.reset_stream(stream_id, error_code=8)  # CANCEL
        except h2.exceptions.H2Error:  # it had ended
            return
        self._to_write.set()

    async def _write(self) -> None:
        while True:
            await self._to_write.wait()
            self._to_write = trio.Event()
            try:
                await self._stream.send_all(self._h2.data_to_send())
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return  # the reader sees the error too

    async def _read(self) -> BaseException | None:
        while True:
            try:
                data = await self._stream.receive_some(_READ)
                if not data:
                    return None
                events = self._h2.receive_data(bytes(data))
            except (trio.BrokenResourceError, trio.ClosedResourceError, h2.exceptions.ProtocolError) as error:
                return error
            for event in events:
                if isinstance(event, h2.events.ConnectionTerminated):
                    return None
                self._handle(event)
            self._to_write.set()
            self._changed.set()
            self._heard.set()
            self._heard = trio.Event()

    def _handle(self, event: h2.events.Event) -> None:
        call = self._calls.get(getattr(event, "stream_id", 0) or 0)
        if isinstance(event, h2.events.DataReceived):
            if call is None:
                self.acknowledge(event.stream_id, event.flow_controlled_length)
            else:
                self.data_at = trio.current_time()
                call.data(event.data, event.flow_controlled_length)
        elif call is None:
            return
        elif isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
            call.headers(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            call.end()
        elif isinstance(event, h2.events.StreamReset):
            call.fail(ClientError("UNAVAILABLE", f"the server cut the call (HTTP/2 error {event.error_code})"))

    def _lose(self, reason: BaseException | None) -> None:
        self.lost = self.lost or no_answer(self.address, reason)
        for call in self._calls.values():
            call.fail(self.lost)
        for event in (self._changed, self._heard, self._called):
            event.set()


async def connect(address: str, context: ssl.SSLContext | None, *, greet: bool = False) -> Connection:
    """Connect to the daemon; the caller runs the connection.

    Args:
        address: of the daemon.
        context: of TLS; None: plaintext.
        greet: whether to wait until the daemon itself answers.

    Raises:
        ClientError: UNAVAILABLE, no server answers there.
    """
    host, port = parse_address(address)
    try:
        with trio.fail_after(CONNECT_SECONDS):
            stream: trio.abc.Stream = await trio.open_tcp_stream(host, port)
            try:
                if context is not None:
                    stream = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
                    await stream.do_handshake()
                connection = Connection(stream, address, secure=context is not None)
                if greet:
                    await connection.greet()
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
    except (OSError, trio.BrokenResourceError) as error:
        raise no_answer(address, error.__cause__ or error) from None
    except trio.TooSlowError:
        raise no_answer(address, None) from None
    return connection
