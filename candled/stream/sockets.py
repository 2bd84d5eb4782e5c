"""Listening sockets of the daemon's ports, and the errors of unusable addresses."""

import errno
import socket

from candled.errors import UserError


class AddressError(UserError):
    """An address cannot be listened on; the text names the setting to change."""


def listen(address: str, *, setting: str, backlog: int) -> socket.socket:
    """Open a listening TCP socket at ``host:port``; port 0 takes a free one, no host means all interfaces.

    Args:
        address: ``host:port``.
        setting: name of the setting, for errors.
        backlog: connections that may wait to be accepted.

    Raises:
        AddressError: in use, not allowed, no address of this machine, or not of that form.
    """
    option = f"--{setting.replace('_', '-')}"
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise AddressError(
            f"Setting {setting} {address!r} is not host:port: give one such as 127.0.0.1:0 with {option}."
        )
    sock: socket.socket | None = None
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(place)
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError as error:
        if sock is not None:
            sock.close()
        if error.errno == errno.EADDRINUSE:
            why = "is in use: stop what listens there, or"
        else:
            why = f"cannot be listened on ({error.strerror}):"
        raise AddressError(f"Setting {setting} {address} {why} choose another with {option}.") from error
    return sock


def joined(host: str, port: int) -> str:
    """Format ``host:port`` as clients dial it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
