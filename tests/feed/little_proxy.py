"""A small proxy on loopback, for HTTP CONNECT and SOCKS5: it opens real tunnels, and records what it was asked."""

import contextlib
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio


@attrs.define
class LittleProxy:
    """One proxy."""

    address: str = ""
    login: tuple[str, str] | None = None
    """User and password that it wants."""
    answers: tuple[bytes, ...] = ()
    """Sent in place of any tunnel, each after something was received."""
    tunnels: list[str] = attrs.Factory(list)
    """Targets of the tunnels that were opened, as ``host:port``."""
    asked: bytearray = attrs.Factory(bytearray)
    """All that clients sent in handshakes."""

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Open one tunnel and carry its bytes."""
        async with stream:
            if self.answers:
                for answer in self.answers:
                    await stream.receive_some()
                    await stream.send_all(answer)
                assert isinstance(stream, trio.SocketStream)
                await stream.send_eof()
                async for _ in stream:
                    pass
                return
            first = await stream.receive_some(1)
            self.asked += first
            target = await (self._socks(stream) if first == b"\x05" else self._connect(stream))
            if target is None:
                return
            self.tunnels.append(":".join(map(str, target)))
            # Tests name hosts that nobody resolves: every tunnel leads to loopback.
            other = await trio.open_tcp_stream("127.0.0.1", target[1])
            async with other, trio.open_nursery() as nursery:
                nursery.start_soon(_carry, stream, other, nursery.cancel_scope)
                nursery.start_soon(_carry, other, stream, nursery.cancel_scope)

    async def _connect(self, stream: trio.abc.Stream) -> tuple[str, int] | None:
        head = bytearray(b"C")
        while not head.endswith(b"\r\n\r\n"):
            head += await stream.receive_some(1)
        self.asked += head
        line, *headers = head.decode().split("\r\n")
        wanted = None if self.login is None else b64encode(":".join(self.login).encode()).decode()
        if wanted is not None and f"Proxy-Authorization: Basic {wanted}" not in headers:
            await stream.send_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return None
        host, _, port = line.split()[1].rpartition(":")
        await stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 Connection established\r\n\r\n")
        return host, int(port)

    async def _socks(self, stream: trio.abc.Stream) -> tuple[str, int] | None:
        (count,) = await self._take(stream, 1)
        methods = await self._take(stream, count)
        method = 0 if self.login is None else 2
        if method not in methods:
            await stream.send_all(b"\x05\xff")
            return None
        await stream.send_all(bytes([5, method]))
        if self.login is not None:
            (_, length) = await self._take(stream, 2)
            user = await self._take(stream, length)
            password = await self._take(stream, (await self._take(stream, 1))[0])
            is_right = (user.decode(), password.decode()) == self.login
            await stream.send_all(b"\x01\x00" if is_right else b"\x01\x01")
            if not is_right:
                return None
        *_, kind = await self._take(stream, 4)
        length = 4 if kind == 1 else (await self._take(stream, 1))[0]
        name = await self._take(stream, length)
        host = ".".join(map(str, name)) if kind == 1 else name.decode()
        port = int.from_bytes(await self._take(stream, 2), "big")
        for byte in b"\x05\x00\x00\x03\x04name\x00\x50":  # in the smallest pieces
            await stream.send_all(bytes([byte]))
        return host, port

    async def _take(self, stream: trio.abc.Stream, length: int) -> bytes:
        data = b""
        while len(data) < length:
            data += await stream.receive_some(length - len(data))
        self.asked += data
        return data


@asynccontextmanager
async def open_proxy(proxy: LittleProxy, tls: ssl.SSLContext | None = None) -> AsyncIterator[LittleProxy]:
    """Serve a proxy on a free port of loopback while inside."""

    async def handle(stream: trio.abc.Stream) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await proxy.serve(stream)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        served = listener if tls is None else trio.SSLListener(listener, tls, https_compatible=True)
        nursery.start_soon(trio.serve_listeners, handle, [served])
        proxy.address = f"localhost:{listener.socket.getsockname()[1]}"
        yield proxy
        nursery.cancel_scope.cancel()


async def _carry(source: trio.abc.Stream, sink: trio.abc.Stream, both: trio.CancelScope) -> None:
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        async for data in source:
            await sink.send_all(data)
    both.cancel()
