"""A relay of TCP connections that can be cut, like a network: nothing is closed, and nothing passes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio


@attrs.define(eq=False)
class Relay:
    """Listens on a port of its own and passes on what comes, unless it is cut."""

    target: int
    port: int = 0
    _whole: trio.Event = attrs.Factory(trio.Event)

    def cut(self) -> None:
        """Let nothing pass, in either direction, until ``heal``."""
        self._whole = trio.Event()

    def heal(self) -> None:
        """Let everything pass again, what waited included."""
        self._whole.set()

    async def _serve(self, client: trio.SocketStream) -> None:
        await self._whole.wait()
        try:
            server = await trio.open_tcp_stream("127.0.0.1", self.target)
        except OSError:
            return
        async with server, trio.open_nursery() as nursery:
            for source, sink in ((client, server), (server, client)):
                nursery.start_soon(self._pass, source, sink, nursery.cancel_scope)

    async def _pass(self, source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope) -> None:
        try:
            while data := await source.receive_some(1 << 16):
                await self._whole.wait()
                await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        scope.cancel()


@asynccontextmanager
async def open_relay(target: int) -> AsyncIterator[Relay]:
    """A relay to a port of loopback while inside."""
    relay = Relay(target)
    relay.heal()
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        relay.port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, relay._serve, listeners)
        yield relay
        nursery.cancel_scope.cancel()
