"""One address in front of a demo's edges: each connection goes to the first edge that takes it.

When an edge dies, its connections end, and clients that connect again reach the next one. A deployment has a
Service or a load balancer for that.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import trio

from candled.errors import UserError

_BYTES_MAX: Final = 65_536


async def serve_front(
    address: str, edges: Sequence[str], *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
) -> None:
    """Carry connections until cancelled; started with the bound address.

    Args:
        address: where to listen, ``host:port``.
        edges: addresses, tried in this order.
        task_status: of the nursery.

    Raises:
        UserError: the address cannot be bound.
    """
    host, _, port = address.rpartition(":")
    try:
        listeners = await trio.open_tcp_listeners(int(port), host=host or None)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"The demo cannot listen on {address}: {reason}; choose another.") from None
    bound = listeners[0].socket.getsockname()[1]
    task_status.started(f"{host}:{bound}")
    await trio.serve_listeners(partial(_carry, edges), listeners)


async def _carry(edges: Sequence[str], client: trio.SocketStream) -> None:
    """Carry one connection until either side ends it."""
    for edge in edges:
        host, _, port = edge.rpartition(":")
        try:
            server = await trio.open_tcp_stream(host, int(port))
        except OSError:
            continue
        async with server, trio.open_nursery() as nursery:
            nursery.start_soon(_copy, client, server, nursery.cancel_scope)
            nursery.start_soon(_copy, server, client, nursery.cancel_scope)
        return


async def _copy(source: trio.SocketStream, sink: trio.SocketStream, both: trio.CancelScope) -> None:
    """Carry bytes one way until a side ends the connection, which ends the other way too."""
    with suppress(trio.BrokenResourceError):
        while data := await source.receive_some(_BYTES_MAX):
            await sink.send_all(data)
    both.cancel()
