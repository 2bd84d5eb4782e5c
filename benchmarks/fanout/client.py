"""Many HTTP/2 clients in one process: they read everything, parse frames, and cost the server nothing extra."""

import selectors
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from candled.api import candles_pb2 as pb

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_WINDOW: Final = (1 << 31) - 1
_READ: Final = 1 << 20
_REQUEST: Final = pb.StreamBarsRequest().SerializeToString()
_BODY: Final = b"\0" + len(_REQUEST).to_bytes(4, "big") + _REQUEST
_PATH: Final = b"/candled.v1.CandleService/StreamBars"
Take = Callable[[bytes, float], None]
"""What is done with each message: its bytes, and when they came."""


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A header, neither indexed nor compressed."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def opening(streams: int, path: bytes, request: bytes) -> bytes:
    """Everything that a client ever says, but acknowledgements."""
    settings = b"\0\4" + _WINDOW.to_bytes(4, "big")  # INITIAL_WINDOW_SIZE
    headers = b"".join(
        literal(name, value)
        for name, value in (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path),
            (b":authority", b"localhost"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
        )
    )
    data = _PREFACE + frame(4, 0, 0, settings) + frame(8, 0, 0, (_WINDOW - 65_535).to_bytes(4, "big"))
    for index in range(streams):
        stream = 2 * index + 1
        data += frame(1, 4, stream, headers) + frame(0, 1, stream, request)
    return data


class Connection:
    """One connection: counts the messages of its streams.

    Args:
        port: of the server.
        streams: how many to open.
        take: called with each message.
        read: bytes to read at a time.
        receive_buffer: of the socket; 0 leaves it to the system.
    """

    def __init__(self, port: int, streams: int, take: Take, *, read: int = _READ, receive_buffer: int = 0) -> None:
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(opening(streams, _PATH, _BODY))
        self.sock.setblocking(False)
        self.messages = 0
        self._take = take
        self._read = read
        self._rest = b""
        self._bodies: dict[int, bytes] = {}

    def read(self) -> bool:
        """Take what has come; False at the end."""
        try:
            data = self.sock.recv(self._read)
        except BlockingIOError:
            return True
        now = time.time()
        if not data:
            return False
        data = self._rest + data
        position, end = 0, len(data)
        while end - position >= 9:
            length = int.from_bytes(data[position : position + 3], "big")
            if end - position < 9 + length:
                break
            kind, flags = data[position + 3], data[position + 4]
            payload = data[position + 9 : position + 9 + length]
            if kind == 0:
                self._split(int.from_bytes(data[position + 5 : position + 9], "big"), payload, now)
            elif kind == 4 and not flags & 1:
                self.sock.sendall(frame(4, 1, 0, b""))
            elif kind == 6 and not flags & 1:
                self.sock.sendall(frame(6, 1, 0, payload))
            position += 9 + length
        self._rest = data[position:]
        return True

    def _split(self, stream: int, payload: bytes, now: float) -> None:
        body = self._bodies.get(stream, b"") + payload
        position = 0
        while len(body) - position >= 5:
            length = int.from_bytes(body[position + 1 : position + 5], "big")
            if len(body) - position < 5 + length:
                break
            self.messages += 1
            self._take(body[position + 5 : position + 5 + length], now)
            position += 5 + length
        self._bodies[stream] = body[position:]


def read_all(
    clients: Iterable[Connection],
    is_done: Callable[[], bool],
    seconds_max: float,
    often: Callable[[], None] = lambda: None,
) -> None:
    """Read from all clients as fast as it comes until done; ``often`` is called at least every 20 ms."""
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client.sock, selectors.EVENT_READ, client)
        deadline = time.monotonic() + seconds_max
        while time.monotonic() < deadline and not is_done():
            for key, _ in selector.select(0.02):
                if not key.data.read():
                    selector.unregister(key.fileobj)
            often()


class Latencies:
    """Seconds from a message's time of sending to its arrival.

    Args:
        sample: every sample-th message is decoded.
    """

    def __init__(self, sample: int) -> None:
        self.values: list[float] = []
        self.count = 0
        """Messages so far."""
        self._sample = sample

    def take(self, data: bytes, now: float) -> None:
        """A message came."""
        self.count += 1
        if self.count % self._sample == 0:
            sent = pb.StreamBarsResponse.FromString(data).send_time
            self.values.append(now - sent.seconds - sent.nanos / 1e9)


def quantile_ms(seconds: Sequence[float], part: float) -> float:
    """A quantile, in milliseconds."""
    return sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * part))] * 1000
