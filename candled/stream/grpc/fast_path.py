"""The synchronous way of messages to clients: DATA frames written by hand, one write for each connection.

Between two trades the processor's caches go to others, so what counts is how few objects and how little code a
message touches: a stream that has its connection to itself is written to in one pass, not gathered first.

``send_message`` of grpclib costs a task switch for each stream and message. A stream that has room in both of its
flow-control windows needs none: its frame is put together here and written at once. Streams without room go
through grpclib's own ``send_data`` in their handler's task.

This leans on private attributes of grpclib and h2. ``check_private_attributes`` shows at the start that they are
there and mean what they did; if not, ``PlainDelivery`` does the same work at a fraction of the speed.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from grpclib.config import Configuration
from grpclib.protocol import Connection
from grpclib.server import Stream
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived
from h2.stream import StreamState

from candled.stream.grpc.bridge import Wakeup
from candled.stream.grpc.encoder import encode_send_time, encode_sequence, encode_shared
from candled.stream.message import Message, MessageKind

_FRAME_MAX: Final = 16_384
"""What every HTTP/2 peer accepts in one frame."""
_CLOSED: Final = StreamState.CLOSED
_JOINED: Final = 32
"""Messages that the slow way sends at once."""
_SEQUENCE_BYTES_MAX: Final = 11
# The first two bytes of the sequence field: of numbers below 128, and of those that more digits follow.
_ONLY: Final = [encode_sequence(low) for low in range(0x80)]
_FIRST: Final = [encode_sequence(low | 0x80)[:2] for low in range(0x80)]


class _Part(NamedTuple):
    """A message but for its sequence field, where that field has a certain length."""

    size: int
    """Bytes of the whole message, its sequence field and gRPC's prefix included."""
    frame: bytes
    """Length, type DATA and no flags: how an HTTP/2 frame of this message alone begins."""
    message: bytes
    """gRPC's prefix, and the message up to its sequence field."""


class _Parts(list["_Part | None"]):
    """The parts of one message by the length of its sequence field, made when first asked for."""

    def __init__(self, body: bytes) -> None:
        super().__init__([None] * (_SEQUENCE_BYTES_MAX + 1))
        self._body = body

    def make(self, length: int) -> _Part:
        """The part for sequence fields of that length."""
        part = self[length]
        if part is None:
            size = len(self._body) + length
            begin = ((size + 5) << 16).to_bytes(5, "big")
            part = self[length] = _Part(size + 5, begin, b"\0" + size.to_bytes(4, "big") + self._body)
        return part


class FastDelivery:
    """Writes to all streams that keep up before ``publish`` returns.

    Args:
        time: microseconds since the epoch.
    """

    def __init__(self, time: Callable[[], int]) -> None:
        self.batch: Sequence[Message] | None = None
        """The messages that ``parts`` were made of."""
        self.parts: list[_Parts] = []
        self.dirty: list[_Link] = []
        """Links with frames to write."""
        self._time = time
        self._links: WeakKeyDictionary[Connection, _Link] = WeakKeyDictionary()

    def open_stream(self, stream: Stream[Any, Any], wakeup: Wakeup) -> "_FastStream":
        """The way to one client."""
        connection = stream._stream.connection  # noqa: SLF001
        link = self._links.get(connection)
        if link is None:
            link = self._links[connection] = _Link(connection)
        return _FastStream(self, link, stream._stream, wakeup)  # noqa: SLF001

    def flush(self) -> None:
        """One write for each connection that has frames."""
        if self.dirty:
            for link in self.dirty:
                link.write(b"".join(link.frames))
                link.frames.clear()
            self.dirty.clear()
        self.batch = None

    def prepare(self, messages: Sequence[Message]) -> list[_Parts]:
        """What all streams share of each message, made once for a batch."""
        if messages is not self.batch:
            sent = encode_send_time(self._time())
            self.parts = [_Parts(encode_shared(message) + sent) for message in messages]
            self.batch = messages
        return self.parts


class _Link:
    """One connection, and the frames gathered for it."""

    __slots__ = ("_sock", "_transport", "_unsent", "frames", "h2", "is_closing", "is_ready", "streams", "write")

    def __init__(self, connection: Connection) -> None:
        self.h2 = connection._connection  # noqa: SLF001
        self._transport: Any = connection._transport  # noqa: SLF001
        self._unsent = self._transport.get_write_buffer_size
        # Of a transport that writes straight to its socket; not there under TLS.
        self._sock: Any = getattr(self._transport, "_sock", None)
        self.is_ready = connection.write_ready.is_set
        self.is_closing = self._transport.is_closing
        self.frames: list[bytes] = []
        """What is gathered, in pieces."""
        self.streams = 0
        """Open ones."""
        self.write = self._transport.write if self._sock is None else self._send

    def _send(self, data: bytes) -> None:
        """Write as the transport would, with less in between: it gets what the socket does not take."""
        if not self._unsent():
            try:
                sent = self._sock.send(data)
            except OSError:  # the transport knows what to do about each
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
        self._transport.write(data)


class _FastStream:
    """One client's stream."""

    unsent: Final = False

    __slots__ = (
        "_delivery",
        "_first",
        "_h2_state",
        "_h2_stream",
        "_id",
        "_link",
        "_rest",
        "_sequence",
        "_sequence_size",
        "_stream",
        "_wakeup",
    )

    def __init__(self, delivery: FastDelivery, link: _Link, stream: Any, wakeup: Wakeup) -> None:
        self._delivery = delivery
        self._link = link
        self._stream = stream
        self._h2_stream = link.h2.streams[stream.id]
        link.streams += 1
        self._h2_state = self._h2_stream.state_machine
        self._id = stream.id.to_bytes(4, "big")
        self._wakeup = wakeup
        self._sequence = 0
        self._turn_over(0)

    def send_now(self, messages: Sequence[Message]) -> bool:
        """Gather the messages as one DATA frame, if they fit and nothing is in their way."""
        # This runs for every stream on every trade: as few steps as can be.
        delivery, link, h2_stream = self._delivery, self._link, self._h2_stream
        parts = delivery.parts if messages is delivery.batch else delivery.prepare(messages)
        if len(parts) == 1:
            sequence = self._sequence + 1
            low = sequence & 0x7F
            if low == 0:
                self._turn_over(sequence)
            size, frame, message = parts[0][self._sequence_size] or parts[0].make(self._sequence_size)
            pieces: tuple[bytes, ...] = (frame, self._id, message, self._first[low], self._rest)
        else:
            sequence, data = self._join(parts)
            size = len(data)
            pieces = ((size << 16).to_bytes(5, "big"), self._id, data)
        h2_connection = link.h2
        if (
            h2_stream.outbound_flow_control_window < size
            or h2_connection.outbound_flow_control_window < size
            or size > _FRAME_MAX
            or self._h2_state.state is _CLOSED
        ):
            return False
        if not link.frames:
            if not link.is_ready() or link.is_closing():
                return False
            if link.streams == 1:
                link.write(b"".join(pieces))
            else:
                delivery.dirty.append(link)
                link.frames += pieces
        else:
            link.frames += pieces
        h2_stream.outbound_flow_control_window -= size
        h2_connection.outbound_flow_control_window -= size
        self._sequence = sequence
        if len(parts) != 1:
            self._turn_over(sequence)
        return True

    def wake(self) -> None:
        """Something waits for the handler."""
        self._wakeup.wake()

    async def send(self, messages: Sequence[Message]) -> None:
        """Send through grpclib, waiting for the client, several messages at a time."""
        parts = self._delivery.prepare(messages)
        for first in range(0, len(parts), _JOINED):
            self._sequence, data = self._join(parts[first : first + _JOINED])
            self._turn_over(self._sequence)
            await self._stream.send_data(data)

    def close(self) -> None:
        """The handler is done."""
        self._link.streams -= 1

    def _join(self, parts: Sequence[_Parts]) -> tuple[int, bytes]:
        """Several messages one after the other, and the sequence of the last."""
        sequence = self._sequence
        pieces: list[bytes] = []
        for part in parts:
            sequence += 1
            field = encode_sequence(sequence)
            pieces += (part.make(len(field)).message, field)
        return sequence, b"".join(pieces)

    def _turn_over(self, sequence: int) -> None:
        """Get ready for numbers that differ from ``sequence`` in their lowest seven bits only."""
        field = encode_sequence(sequence)
        self._sequence_size = len(field)
        self._rest = field[2:]
        self._first = _FIRST if self._rest else _ONLY


def check_private_attributes() -> str | None:
    """Try the fast path on a connection in memory; call it where an asyncio loop runs.

    Returns:
        Why the fast path cannot be used with the installed versions, or None if it can.
    """
    try:
        return _try_fast_path()
    except (AttributeError, TypeError, KeyError) as error:
        return f"grpclib or h2 changed inside: {error!r}"


def _try_fast_path() -> str | None:
    client = H2Connection(H2Configuration(client_side=True))
    server = H2Connection(H2Configuration(client_side=False))
    transport = _MemoryTransport()
    client.initiate_connection()
    server.initiate_connection()
    client.send_headers(1, [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "x")])
    server.receive_data(client.data_to_send())
    server.send_headers(1, [(":status", "200")])
    client.receive_data(server.data_to_send())
    connection = Connection(server, transport, config=Configuration().__for_server__())  # type: ignore[arg-type]
    stream = connection.create_stream(stream_id=1)
    link = _Link(connection)
    delivery = FastDelivery(lambda: 0)
    fast = _FastStream(delivery, link, stream, None)  # type: ignore[arg-type]
    before = server.local_flow_control_window(1)
    if not callable(stream.send_data) or not fast.send_now([_probe()]):
        return "a frame that has room was not sent"
    delivery.flush()
    received = [event for event in client.receive_data(transport.written) if isinstance(event, DataReceived)]
    size = len(received[0].data or b"") if received else 0
    if not size or server.local_flow_control_window(1) != before - size:
        return "a frame was not received, or its size not counted"
    connection.pause_writing()
    if fast.send_now([_probe()]):
        return "a frame was sent on a connection that is paused"
    return None


def _probe() -> Message:
    return Message(MessageKind.HEARTBEAT, None, 0)


class _MemoryTransport:
    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False
