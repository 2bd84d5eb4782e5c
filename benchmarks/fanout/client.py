"""Many HTTP/2 clients in one process: they read everything, parse frames, and cost the server nothing extra."""

import selectors
import socket
import time
from collections.abc import Callable
from typing import Final

from candled.api import candles_pb2 as pb

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_WINDOW: Final = (1 << 31) - 1
_SAMPLE: Final = 16
"""One message in so many is decoded for its latency."""


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
    """One connection: counts the messages of its streams."""

    def __init__(self, port: int, streams: int, path: bytes, request: bytes) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(opening(streams, path, request))
        self.sock.setblocking(False)
        self.messages = 0
        self.latencies: list[float] = []
        self._rest = b""
        self._bodies: dict[int, bytes] = {}

    def read(self) -> bool:
        """Take what has come; False at the end."""
        try:
            data = self.sock.recv(1 << 20)
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
                self._take(int.from_bytes(data[position + 5 : position + 9], "big"), payload, now)
            elif kind == 4 and not flags & 1:
                self.sock.sendall(frame(4, 1, 0, b""))
            elif kind == 6 and not flags & 1:
                self.sock.sendall(frame(6, 1, 0, payload))
            position += 9 + length
        self._rest = data[position:]
        return True

    def _take(self, stream: int, payload: bytes, now: float) -> None:
        body = self._bodies.get(stream, b"") + payload
        position = 0
        while len(body) - position >= 5:
            length = int.from_bytes(body[position + 1 : position + 5], "big")
            if len(body) - position < 5 + length:
                break
            self.messages += 1
            if self.messages % _SAMPLE == 0:
                message = pb.StreamBarsResponse.FromString(body[position + 5 : position + 5 + length])
                sent = message.send_time.seconds + message.send_time.nanos / 1e9
                self.latencies.append(now - sent)
            position += 5 + length
        self._bodies[stream] = body[position:]


def receive(
    port: int,
    connections: int,
    streams: int,
    messages: int,
    seconds_max: float,
    received: Callable[[], None],
) -> tuple[int, list[float]]:
    """Open all streams, read until all messages are there; how many came, and latencies in seconds.

    ``received`` is called while the connections are still open.
    """
    request = pb.StreamBarsRequest().SerializeToString()
    body = b"\0" + len(request).to_bytes(4, "big") + request
    path = b"/candled.v1.CandleService/StreamBars"
    clients = [Connection(port, streams, path, body) for _ in range(connections)]
    selector = selectors.DefaultSelector()
    for client in clients:
        selector.register(client.sock, selectors.EVENT_READ, client)
    deadline = time.monotonic() + seconds_max
    while time.monotonic() < deadline and sum(client.messages for client in clients) < messages:
        for key, _ in selector.select(0.2):
            if not key.data.read():
                selector.unregister(key.fileobj)
    received()
    for client in clients:
        client.sock.close()
    return sum(c.messages for c in clients), [latency for c in clients for latency in c.latencies]
