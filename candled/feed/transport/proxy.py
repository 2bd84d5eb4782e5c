"""Byte streams to an exchange, through a proxy where one is chosen: for websockets and for REST alike.

A proxy is asked for a tunnel to the exchange's host and port. TLS to the exchange runs inside the tunnel, so a
proxy sees no more than the host's name, which it also resolves.
"""

import ssl
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import httpcore
import trio

from candled.config.proxies import Proxies, Proxy
from candled.feed.adapter import Connect
from candled.feed.transport.proxy_handshake import handshake
from candled.feed.transport.reasons import ProxyError, why_unreachable
from candled.feed.transport.tcp import start_tls

PROXY_SECONDS: Final = 8.0
"""Until a tunnel is open: less than an exchange's answer is waited for, so that it is the proxy that is named."""
CLOSE_SECONDS: Final = 0.1
_READ_BYTES: Final = 4_096


async def _open_tunnel(
    proxy: Proxy,
    host: str,
    port: int,
    send: Callable[[bytes], Awaitable[None]],
    receive: Callable[[int], Awaitable[bytes | bytearray]],
) -> None:
    steps = handshake(proxy, host, port)
    to_send = next(steps)
    while True:
        if to_send:
            await send(to_send)
        received = await receive(_READ_BYTES)
        if not received:
            raise ProxyError(proxy, "closed the connection before the tunnel was open")
        try:
            to_send = steps.send(bytes(received))
        except StopIteration:
            return


@contextmanager
def _named(proxy: Proxy) -> Iterator[None]:
    """Limit the time of what is done inside, and name the proxy in what goes wrong."""
    try:
        with trio.fail_after(PROXY_SECONDS):
            yield
    except ProxyError:
        raise
    except trio.TooSlowError:
        raise ProxyError(proxy, f"opened no tunnel within {PROXY_SECONDS:g} s") from None
    except (OSError, trio.BrokenResourceError, httpcore.NetworkError) as error:
        raise ProxyError(proxy, f"cannot be reached: {why_unreachable(error)}") from error


@attrs.frozen
class ProxiedConnect:
    """A ``Connect`` for streams: through the proxy that is chosen for each host, or directly."""

    proxies: Proxies
    direct: Connect

    async def __call__(self, host: str, port: int, tls: bool) -> trio.abc.Stream:
        """See ``Connect``.

        Raises:
            ProxyError: the proxy opens no tunnel.
            OSError, trio.BrokenResourceError: the exchange cannot be reached, or TLS with it fails.
        """
        proxy = self.proxies.choose(host, port, tls=tls)
        if proxy is None:
            return await self.direct(host, port, tls)
        with _named(proxy):
            stream = await self.direct(proxy.host, proxy.port, proxy.scheme == "https")
            try:
                await _open_tunnel(proxy, host, port, stream.send_all, stream.receive_some)
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
        return await start_tls(stream, host) if tls else stream


class ProxiedNetwork(httpcore.AsyncNetworkBackend):
    """The network of a REST client: through the proxy that is chosen for each host, or directly."""

    def __init__(self, proxies: Proxies, base_urls: Iterable[str]) -> None:
        """Make it.

        Args:
            proxies: the choice.
            base_urls: of the REST client; which of them is encrypted decides the choice.
        """
        self._proxies = proxies
        self._direct = httpcore.TrioBackend()
        parts = [urlsplit(url) for url in base_urls]
        self._plain = {(part.hostname, part.port or 80) for part in parts if part.scheme == "http"}

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (httpcore's interface)
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to a host; TLS with it is httpcore's to add.

        Raises:
            ProxyError: the proxy opens no tunnel.
        """
        proxy = self._proxies.choose(host, port, tls=(host.lower(), port) not in self._plain)
        if proxy is None:
            return await self._direct.connect_tcp(host, port, timeout, local_address, socket_options)
        with _named(proxy):
            stream = await self._direct.connect_tcp(proxy.host, proxy.port, timeout, local_address, socket_options)
            try:
                if proxy.scheme == "https":
                    stream = await stream.start_tls(ssl.create_default_context(), server_hostname=proxy.host)
                await _open_tunnel(proxy, host, port, stream.write, stream.read)
            except BaseException:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_SECONDS):
                    await stream.aclose()
                raise
        return stream

    async def sleep(self, seconds: float) -> None:
        """See ``httpcore.AsyncNetworkBackend``."""
        await trio.sleep(seconds)


def proxied_connect(proxies: Proxies, direct: Connect) -> Connect:
    """Return how streams are connected; ``direct`` itself where there is no proxy."""
    return ProxiedConnect(proxies, direct) if proxies.by_scheme else direct


def proxied_network(proxies: Proxies, base_urls: Iterable[str]) -> httpcore.AsyncNetworkBackend | None:
    """Return the network of a REST client of these base URLs; None, the machine's, where there is no proxy."""
    return ProxiedNetwork(proxies, base_urls) if proxies.by_scheme else None
