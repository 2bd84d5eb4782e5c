"""Limit the connections of a port: in total, per address, and those without a completed handshake.

Plain: no clock, no sockets. A port asks before any other work for a connection, TLS included, so in a flood each
silent connection costs one descriptor, up to the limit.
"""

from collections import Counter
from ipaddress import IPv6Address, ip_address
from types import TracebackType
from typing import Any, Final

import attrs

_NETWORK_BITS: Final = 64
"""Prefix length of IPv6 addresses that count as one client."""


@attrs.frozen(kw_only=True)
class ConnectionLimits:
    """Limits of one port."""

    total: int = 10_000
    per_address: int = 1_000
    pending: int = 512
    """Connections that have not completed their handshake or first request."""
    pending_per_address: int = 256
    pending_seconds: float = 10.0
    """Seconds until a pending connection is closed."""


class RefusedError(Exception):
    """A connection is over a limit; the text is the name of the limit."""


@attrs.frozen
class AdmissionStatistics:
    """The connections of a port at one moment."""

    open: int
    pending: int
    refused: dict[str, int]
    """Since the start, by the name of the limit."""


@attrs.define
class _Count:
    """Connections by address, and in total."""

    of: Counter[str] = attrs.Factory(Counter)
    total: int = 0

    def add(self, address: str) -> None:
        self.of[address] += 1
        self.total += 1

    def remove(self, address: str) -> None:
        self.total -= 1
        self.of[address] -= 1
        if not self.of[address]:
            del self.of[address]


class Admission:
    """Counts the connections of one port.

    Args:
        limits: limits of the port.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._open = _Count()
        self._pending = _Count()
        self._refused: Counter[str] = Counter(
            dict.fromkeys(("total", "per_address", "pending", "pending_per_address", "descriptors"), 0)
        )

    def __repr__(self) -> str:
        return f"Admission(open={self._open.total}, pending={self._pending.total})"

    def admit(self, address: str) -> "Ticket":
        """Count one more connection.

        Args:
            address: of the client, see ``address_of``.

        Raises:
            RefusedError: it is over a limit, and was counted as refused.
        """
        for name, count, limit in (
            ("total", self._open.total, self.limits.total),
            ("per_address", self._open.of[address], self.limits.per_address),
            ("pending", self._pending.total, self.limits.pending),
            ("pending_per_address", self._pending.of[address], self.limits.pending_per_address),
        ):
            if count >= limit:
                self.refuse(name)
                raise RefusedError(name)
        self._open.add(address)
        self._pending.add(address)
        return Ticket(self, address)

    def refuse(self, reason: str) -> None:
        """Count a connection that was refused for another reason."""
        self._refused[reason] += 1

    def settle(self, address: str) -> None:
        """Note that a connection has completed its handshake; see ``Ticket.settle``."""
        self._pending.remove(address)

    def leave(self, address: str) -> None:
        """Remove a connection that is gone; see ``Ticket.close``."""
        self._open.remove(address)

    def statistics(self) -> AdmissionStatistics:
        """Return the port's connections at this moment."""
        return AdmissionStatistics(self._open.total, self._pending.total, dict(self._refused))


class Ticket:
    """One connection's place among those of its port; close it when the connection is gone."""

    __slots__ = ("_admission", "_is_open", "_is_pending", "address")

    def __init__(self, admission: Admission, address: str) -> None:
        self.address = address
        self._admission = admission
        self._is_open = self._is_pending = True

    def __enter__(self) -> "Ticket":
        """Return itself."""
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Close it."""
        self.close()

    def settle(self) -> None:
        """Note that the client has shown that it speaks the port's protocol."""
        if self._is_pending:
            self._is_pending = False
            self._admission.settle(self.address)

    def close(self) -> None:
        """Note that the connection is gone."""
        self.settle()
        if self._is_open:
            self._is_open = False
            self._admission.leave(self.address)


def address_of(peer: Any) -> str:
    """Return the address that a connection counts for: the IPv4 address, or the first 64 bits of the IPv6 one.

    Args:
        peer: the socket's address of the other side.
    """
    try:
        address = ip_address(str(peer[0]).partition("%")[0])
    except (ValueError, IndexError, TypeError):  # a Unix socket
        return ""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(IPv6Address(int(address) >> _NETWORK_BITS << _NETWORK_BITS))
    return str(address)
