"""Accept connections of a port, and admit or refuse each before any other work."""

import errno
import resource
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
import trio

from candled.stream.admission import Admission, RefusedError, Ticket, address_of

DESCRIPTORS_RESERVED: Final = 192
"""File descriptors reserved from clients: for the history, the exchange and health checks."""

DESCRIPTORS_MAX: Final = 65_536
"""Maximum limit requested from the system."""

_SCARCE: Final = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}
_SCARCE_SECONDS: Final = 0.1
"""Seconds to pause after the system ran out of descriptors or memory."""

_log = structlog.get_logger(__name__)

Handle = Callable[[trio.socket.SocketType, Ticket], Awaitable[None]]
"""Serves one connection, whose socket it closes."""


Refuse = Callable[[trio.socket.SocketType], None]
"""Handles a connection over the limit."""


async def accept_connections(
    listener: trio.socket.SocketType, admission: Admission, handle: Handle, *, refuse: Refuse | None = None
) -> None:
    """Accept until cancelled; connections end with it.

    Args:
        listener: a listening socket.
        admission: the port's limits and counts.
        handle: runs as a task for each connection that is admitted.
        refuse: handles and closes each refused connection; None: close it at once.
    """
    async with trio.open_nursery() as nursery:
        while True:
            try:
                sock, peer = await listener.accept()
            except OSError as error:
                if error.errno in _SCARCE:
                    admission.refuse("descriptors")
                    _log.error("connections not accepted", reason=error.strerror)
                    await trio.sleep(_SCARCE_SECONDS)
                # Other errors concern one connection only, which is gone already.
                continue
            try:
                ticket = admission.admit(address_of(peer))
            except RefusedError as error:
                _log.warning("connection refused", limit=str(error), address=address_of(peer))
                if refuse is None:
                    sock.close()
                else:
                    refuse(sock)
                continue
            nursery.start_soon(handle, sock, ticket)


def connections_max(configured: int, share: float) -> int:
    """Return the maximum number of connections of a port: as configured, fewer where descriptors are few.

    Args:
        configured: the configured maximum.
        share: share of the descriptors beyond the reserve that this port may use, from 0 to 1.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return configured
    return max(1, min(configured, int((soft - DESCRIPTORS_RESERVED) * share)))


def raise_descriptor_limit() -> None:
    """Raise this process's soft limit of open files to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS_MAX if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
