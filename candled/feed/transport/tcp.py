"""Byte streams over the machine's own network, in clear or with TLS."""

import ssl

import trio


async def connect_tcp(host: str, port: int, tls: bool) -> trio.abc.Stream:
    """See ``Connect``."""
    stream = await trio.open_tcp_stream(host, port)
    return await start_tls(stream, host) if tls else stream


async def start_tls(stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
    """Return a stream encrypted inside another one, which is closed if the handshake fails."""
    encrypted = trio.SSLStream(stream, ssl.create_default_context(), server_hostname=host, https_compatible=True)
    try:
        await encrypted.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return encrypted
