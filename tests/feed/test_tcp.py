"""TLS inside a byte stream: no socket is left open where it cannot be had."""

import pytest
import trio
import trio.testing

from candled.feed.transport.tcp import start_tls


async def test_refused_tls_closes_stream() -> None:
    """A server that does not speak TLS is left."""
    near, far = trio.testing.memory_stream_pair()
    await far.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
        await start_tls(near, "localhost")
    with pytest.raises(trio.ClosedResourceError):
        await near.send_all(b"x")


async def test_cancelled_tls_closes_stream(autojump_clock: trio.testing.MockClock) -> None:
    """So is one that says nothing, when the time is over."""
    near, _far = trio.testing.memory_stream_pair()
    with pytest.raises(trio.TooSlowError), trio.fail_after(5):
        await start_tls(near, "localhost")
    with pytest.raises(trio.ClosedResourceError):
        await near.send_all(b"x")
