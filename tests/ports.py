"""Ports for processes that are given one to listen on, and need the same again when they restart."""

import os
import random
import socket
from contextlib import ExitStack
from typing import Final

_WORKER: Final = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
_PORTS: Final = range(20_000 + 3_000 * _WORKER, 23_000 + 3_000 * _WORKER)
"""Below those that the system gives to connections, of which one could take a port before its process listens; and
for each worker of the tests its own."""
_CHOICE: Final = random.SystemRandom()
"""Not the generator that tests seed: they would get the same ports one after the other."""


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on now."""
    found: list[int] = []
    with ExitStack() as stack:
        while len(found) < count:
            probe = stack.enter_context(socket.socket())
            port = _CHOICE.choice(_PORTS)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    return found
