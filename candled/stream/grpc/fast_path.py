"""The synchronous way of messages to clients: DATA frames written by hand, one write for each connection.

``send_message`` of grpclib costs a task switch for each stream and message. A stream that has room in both of its
flow-control windows needs none: its frame is put together here and written at once. Streams without room go
through grpclib's own ``send_data`` in their handler's task.

This leans on private attributes of grpclib and h2. ``check_private_attributes`` shows at the start that they are
there and mean what they did; if not, ``PlainDelivery`` does the same work at a fraction of the speed.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

from grpclib.config import Configuration
from grpclib.protocol import Connection
from grpclib.server import Stream
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived

from candled.stream.grpc.bridge import Wakeup
from candled.stream.grpc.encoder import encode_send_time, encode_sequence, encode_shared
from candled.stream.message import Message, MessageKind

_FRAME_MAX: Final = 16_384
"""What every HTTP/2 peer accepts in one frame."""
_JOINED: Final = 32
"""Messages that the slow way sends at once."""
_SEQUENCE_BYTES_MAX: Final = 11
# The sequence field of numbers below 128, and what stands before the higher digits of the others.
_LAST: Final = [encode_sequence(low) for low in range(0x80)]
_MORE: Final = [encode_sequence(low | 0x80)[:2] for low in range(0x80)]


class FastDelivery:
    """Writes to all streams that keep up before ``publish`` returns.

    Args:
        time: microseconds since the epoch.
    """

    def __init__(self, time: Callable[[], int]) -> None:
        self.batch: Sequence[Message] | None = None
        """The messages that ``parts`` were made of."""
        self.parts: list[tuple[bytes, ...]] = []
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
                frames = link.frames
                link.transport.write(frames[0] if len(frames) == 1 else b"".join(frames))
                frames.clear()
            self.dirty.clear()
        self.batch = None

    def prepare(self, messages: Sequence[Message]) -> list[tuple[bytes, ...]]:
        """What all streams share of each message, made once for a batch."""
        if messages is not self.batch:
            sent = encode_send_time(self._time())
            self.parts = [_prefixed(encode_shared(message) + sent) for message in messages]
            self.batch = messages
        return self.parts


def _prefixed(body: bytes) -> tuple[bytes, ...]:
    """A message but for its sequence field, with gRPC's prefix: one for each length that field may have."""
    return tuple(
        b"\0" + (len(body) + length).to_bytes(4, "big") + body for length in range(_SEQUENCE_BYTES_MAX + 1)
    )


class _Link:
    """One connection, and the frames gathered for it."""

    __slots__ = ("connection", "frames", "h2", "is_closing", "is_ready", "transport")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.h2 = connection._connection  # noqa: SLF001
        self.transport = connection._transport  # noqa: SLF001
        self.is_ready = connection.write_ready.is_set
        self.is_closing = self.transport.is_closing
        self.frames: list[bytes] = []


class _FastStream:
    """One client's stream."""

    __slots__ = ("_delivery", "_h2_stream", "_high", "_id", "_link", "_sequence", "_stream", "_wakeup")

    def __init__(self, delivery: FastDelivery, link: _Link, stream: Any, wakeup: Wakeup) -> None:
        self._delivery = delivery
        self._link = link
        self._stream = stream
        self._h2_stream = link.h2.streams[stream.id]
        self._id = stream.id.to_bytes(4, "big")
        self._wakeup = wakeup
        self._sequence = 0
        self._high = b""

    def send_now(self, messages: Sequence[Message]) -> bool:
        """Gather the messages as one DATA frame, if they fit and nothing is in their way."""
        delivery, link, h2_stream = self._delivery, self._link, self._h2_stream
        parts = delivery.parts if messages is delivery.batch else delivery.prepare(messages)
        if len(parts) == 1:  # nearly every call, and the one that runs for every stream on every trade
            sequence = self._sequence + 1
            low = sequence & 0x7F
            if sequence < 0x80:
                tail = _LAST[low]
            else:
                if low == 0:
                    self._high = encode_sequence(sequence >> 7)[1:]
                tail = _MORE[low] + self._high
            data = parts[0][len(tail)] + tail
        else:
            sequence, data = self._join(parts)
        size = len(data)
        h2_connection = link.h2
        if (
            size > _FRAME_MAX
            or h2_stream.outbound_flow_control_window < size
            or h2_connection.outbound_flow_control_window < size
            or not link.is_ready()
            or link.is_closing()
            or h2_stream.closed
        ):
            return False
        h2_stream.outbound_flow_control_window -= size
        h2_connection.outbound_flow_control_window -= size
        self._sequence = sequence
        if not link.frames:
            delivery.dirty.append(link)
        # Length, type DATA, no flags, then the stream's id.
        link.frames.append((size << 16).to_bytes(5, "big") + self._id + data)
        return True

    def wake(self) -> None:
        """Something waits for the handler."""
        self._wakeup.wake()

    async def send(self, messages: Sequence[Message]) -> None:
        """Send through grpclib, waiting for the client, several messages at a time."""
        parts = self._delivery.prepare(messages)
        for first in range(0, len(parts), _JOINED):
            self._sequence, data = self._join(parts[first : first + _JOINED])
            await self._stream.send_data(data)

    def _join(self, parts: Sequence[tuple[bytes, ...]]) -> tuple[int, bytes]:
        """Several messages one after the other, and the sequence of the last."""
        sequence = self._sequence
        data = b""
        for part in parts:
            sequence += 1
            tail = encode_sequence(sequence)
            data += part[len(tail)] + tail
        self._high = encode_sequence(sequence >> 7)[1:]
        return sequence, data


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

    def is_closing(self) -> bool:
        return False
