"""Synchronous delivery to clients: DATA frames built by hand, one write for each connection.

``send_message`` of grpclib costs a task switch for each stream and message. A stream that has room in both of its
flow-control windows needs none: its frame is built here and written at once. Streams without room go
through grpclib's own ``send_data`` in their handler's task. Caches are cold between
two trades, so cost depends on the number of objects and the amount of code that a message touches.

State: per stream its sequence and the bytes of the sequence field without its lowest seven bits; per connection
(``_Link``) the frames gathered since the last ``flush``; per batch the parts that all streams share (``_Parts``).

The order of events, for one batch: ``send_now`` of each stream, which writes at once where the stream has its
connection to itself, and gathers otherwise; then ``flush``, one write for each connection that has gathered.

Invariants: a frame is counted in both windows when it is gathered, so nothing between that and ``flush`` may
yield; frames of one stream are sent in the order of their sequence, on either path; while the transport
holds unsent bytes, everything goes through the transport.

This uses private attributes of grpclib and h2. ``find_obstacle`` checks at the start that they exist and behave as
expected; if not, ``PlainDelivery`` does the same work at a fraction of the speed.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from grpclib.config import Configuration
from grpclib.const import Cardinality
from grpclib.protocol import Connection
from grpclib.server import Server, Stream
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived
from h2.stream import StreamState

from candled.stream.grpc.codec import PassThroughCodec
from candled.stream.grpc.encoder import encode_send_time, encode_sequence, encode_shared
from candled.stream.grpc.internals.bridge import Wakeup
from candled.stream.grpc.internals.connections import MemoryTransport
from candled.stream.message import Message, MessageKind

_FRAME_MAX: Final = 16_384
"""Frame size that every HTTP/2 peer accepts."""
_CLOSED: Final = StreamState.CLOSED
_JOINED: Final = 32
"""Messages per send on the slow path."""
_SEQUENCE_BYTES_MAX: Final = 11
# The first two bytes of the sequence field: of numbers below 128, and of those that more digits follow.
_ONLY: Final = [encode_sequence(low) for low in range(0x80)]
_FIRST: Final = [encode_sequence(low | 0x80)[:2] for low in range(0x80)]


class _Part(NamedTuple):
    """A message without its sequence field, for one length of that field."""

    size: int
    """Bytes of the whole message, its sequence field and gRPC's prefix included."""
    frame: bytes
    """Length, type DATA and no flags: start of an HTTP/2 frame with this message alone."""
    message: bytes
    """gRPC's prefix, and the message up to its sequence field."""


class _Parts(list["_Part | None"]):
    """The parts of one message by the length of its sequence field, made on first use."""

    def __init__(self, body: bytes) -> None:
        super().__init__([None] * (_SEQUENCE_BYTES_MAX + 1))
        self._body = body

    def make(self, length: int) -> _Part:
        """Make the part for sequence fields of that length."""
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
        """The messages of the prepared ``parts``."""
        self.parts: list[_Parts] = []
        self.dirty: list[_Link] = []
        """Links with frames to write."""
        self._time = time
        self._links: WeakKeyDictionary[Connection, _Link] = WeakKeyDictionary()

    def open_stream(self, stream: Stream[Any, Any], wakeup: Wakeup) -> "_FastStream":
        """Open the outlet to one client."""
        connection = stream._stream.connection
        link = self._links.get(connection)
        if link is None:
            link = self._links[connection] = _Link(connection)
        return _FastStream(self, link, stream._stream, wakeup)

    def flush(self) -> None:
        """Write the gathered frames, one write for each connection."""
        if self.dirty:
            for link in self.dirty:
                link.write(b"".join(link.frames))
                link.frames.clear()
            self.dirty.clear()
        self.batch = None

    def prepare(self, messages: Sequence[Message]) -> list[_Parts]:
        """Prepare the shared parts of each message, once for a batch."""
        if messages is not self.batch:
            sent = encode_send_time(self._time())
            self.parts = [_Parts(encode_shared(message) + sent) for message in messages]
            self.batch = messages
        return self.parts


class _Link:
    """One connection, and the frames gathered for it."""

    __slots__ = ("_sock", "_transport", "_unsent", "frames", "h2", "is_closing", "is_ready", "streams", "write")

    def __init__(self, connection: Connection) -> None:
        self.h2 = connection._connection
        self._transport: Any = connection._transport
        self._unsent = self._transport.get_write_buffer_size
        # The socket of a transport that writes directly to it; None under TLS.
        self._sock: Any = getattr(self._transport, "_sock", None)
        self.is_ready = connection.write_ready.is_set
        self.is_closing = self._transport.is_closing
        self.frames: list[bytes] = []
        """Gathered frames, in pieces."""
        self.streams = 0
        """Number of open streams."""
        self.write = self._transport.write if self._sock is None else self._send

    def _send(self, data: bytes) -> None:
        """Write as the transport would, with fewer steps: the transport gets what the socket does not take."""
        if not self._unsent():
            try:
                sent = self._sock.send(data)
            except OSError:  # the transport handles every error
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
        self._transport.write(data)


class _FastStream:
    """One client's stream."""

    has_own: Final = False

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
        # Runs for every stream on every trade: keep it minimal.
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
        """Wake the handler: messages wait for it."""
        self._wakeup.wake()

    async def wait(self, seconds: float) -> None:
        """Sleep until woken, at most ``seconds``."""
        await self._wakeup.wait(seconds)

    async def send(self, messages: Sequence[Message]) -> None:
        """Send through grpclib, waiting for the client, several messages at a time."""
        parts = self._delivery.prepare(messages)
        for first in range(0, len(parts), _JOINED):
            self._sequence, data = self._join(parts[first : first + _JOINED])
            self._turn_over(self._sequence)
            await self._stream.send_data(data)

    def close(self) -> None:
        """End the stream when its handler is done."""
        self._link.streams -= 1

    def _join(self, parts: Sequence[_Parts]) -> tuple[int, bytes]:
        """Join several messages into one payload; return the sequence of the last and the bytes."""
        sequence = self._sequence
        pieces: list[bytes] = []
        for part in parts:
            sequence += 1
            field = encode_sequence(sequence)
            pieces += (part.make(len(field)).message, field)
        return sequence, b"".join(pieces)

    def _turn_over(self, sequence: int) -> None:
        """Prepare for sequences that differ from ``sequence`` in their lowest seven bits only."""
        field = encode_sequence(sequence)
        self._sequence_size = len(field)
        self._rest = field[2:]
        self._first = _FIRST if self._rest else _ONLY


def private_attributes() -> list[tuple[object, str]]:
    """Sample the objects whose private attributes this module uses, each with the attribute's name."""
    _client, server, transport = _memory_connection()
    connection = Connection(server, transport, config=Configuration().__for_server__())  # type: ignore[arg-type]
    stream = Stream[Any, Any](
        connection.create_stream(stream_id=1),
        "",
        Cardinality.UNARY_STREAM,
        bytes,
        bytes,
        codec=PassThroughCodec(),
        status_details_codec=None,
        dispatch=Server([]).__dispatch__,
    )
    h2_stream = server.streams[1]
    return [
        (stream, "_stream"),
        (connection, "_connection"),
        (connection, "_transport"),
        (connection, "write_ready"),
        (server, "streams"),
        (server, "outbound_flow_control_window"),
        (h2_stream, "outbound_flow_control_window"),
        (h2_stream, "state_machine"),
    ]


def find_obstacle() -> str | None:
    """Try the fast path on a connection in memory; call it where an asyncio loop runs.

    Returns:
        Why the fast path cannot be used with the installed versions, or None if it can.
    """
    try:
        return _try_fast_path()
    except (AttributeError, TypeError, KeyError) as error:
        return f"grpclib or h2 changed inside: {error!r}"


def _memory_connection() -> tuple[H2Connection, H2Connection, MemoryTransport]:
    """Return both ends of a connection with one open request, and the transport that the server writes to."""
    client = H2Connection(H2Configuration(client_side=True))
    server = H2Connection(H2Configuration(client_side=False))
    client.initiate_connection()
    server.initiate_connection()
    client.send_headers(1, [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "x")])
    server.receive_data(client.data_to_send())
    server.send_headers(1, [(":status", "200")])
    client.receive_data(server.data_to_send())
    return client, server, MemoryTransport()


def _try_fast_path() -> str | None:
    client, server, transport = _memory_connection()
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
