"""Limits on clients' connections are settings, which hold on both ports."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from candled.daemon.roles import RoleContext
from candled.daemon.root import serve_daemon
from tests.loopback import loopback_settings, open_loopback_exchange

if TYPE_CHECKING:
    from candled.daemon.roles import Addresses

TIMEOUT = 40


async def is_cut(stream: trio.SocketStream) -> bool:
    """Whether the port ends the connection, or answers that there are too many."""
    with trio.move_on_after(1.0):
        try:
            await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = await stream.receive_some()
            return not answer or answer.startswith(b"HTTP/1.1 503")
        except trio.BrokenResourceError:
            return True
    return False


@pytest.mark.parametrize(
    "limits",
    [{"client_connections_max": 3}, {"client_connections_per_address_max": 3}],
    ids=["in all", "of one address"],
)
async def test_limits_of_both_ports(limits: dict[str, Any], tmp_path: Path) -> None:
    """The fourth connection is refused: at once on the gRPC port, with 503 on the HTTP port."""
    stop = trio.Event()
    with trio.fail_after(TIMEOUT):
        async with open_loopback_exchange() as bound, trio.open_nursery() as nursery:
            settings = loopback_settings(tmp_path, bound, **limits)
            addresses: Addresses = await nursery.start(serve_daemon, RoleContext(settings, stop))
            for address in (addresses.grpc, addresses.http):
                host, _, port = address.rpartition(":")
                taken = [await trio.open_tcp_stream(host, int(port)) for _ in range(3)]
                async with await trio.open_tcp_stream(host, int(port)) as beyond:
                    assert await is_cut(beyond)
                for stream in taken:
                    await stream.aclose()
            stop.set()
            nursery.cancel_scope.cancel()
