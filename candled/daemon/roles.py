"""What every role of the daemon is started with, and how it stops."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import attrs
import trio

from candled.config.proxies import NO_PROXIES, Proxies
from candled.config.settings import DaemonSettings
from candled.telemetry.logging import LogCounts


@attrs.frozen
class Addresses:
    """Where the daemon listens, as ``host:port``."""

    grpc: str
    http: str


@attrs.frozen
class Reload:
    """How to read the settings again, and the requests to do so."""

    reread: Callable[[], DaemonSettings]
    requests: trio.MemoryReceiveChannel[None]


@attrs.frozen
class RoleContext:
    """What a role is started with."""

    settings: DaemonSettings
    """Those of ``candled run``."""
    stop: trio.Event
    """Set to end in order."""
    proxies: Proxies = attrs.field(default=NO_PROXIES, kw_only=True)
    """Which proxy the exchange is reached through."""
    reload: Reload | None = attrs.field(default=None, kw_only=True)
    """Reads the settings again while bars are served."""
    logs: LogCounts | None = attrs.field(default=None, kw_only=True)
    """Counts of log lines, for the metrics."""
    observe_start: Callable[[str, str], None] | None = attrs.field(default=None, kw_only=True)
    """Called at each change with the name of the phase and its progress."""


class ServeRole(Protocol):
    """Runs one role."""

    async def __call__(
        self, context: RoleContext, *, task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Run until ``context.stop`` is set, with the HTTP port open from the first moment to the last.

        Args:
            context: what the role is started with.
            task_status: started with the bound addresses once bars can be streamed and queried; at an ingester,
                which has no gRPC port, once it makes bars.

        Raises:
            UserError: something outside candled keeps it from working; the text says what to change.
        """


@asynccontextmanager
async def cancelled_by(stop: trio.Event) -> AsyncIterator[None]:
    """Cancel the body once ``stop`` is set."""
    async with trio.open_nursery() as nursery:

        async def cancel() -> None:
            await stop.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(cancel)
        yield
        nursery.cancel_scope.cancel()
