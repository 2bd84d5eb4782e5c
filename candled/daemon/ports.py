"""The ports of a daemon, as its settings say: HTTP for every role, gRPC for those that serve clients."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import trio

from candled.config.settings import DaemonSettings
from candled.daemon.metrics import Collectors
from candled.domain.status import DaemonStatus
from candled.domain.storage import BarReader
from candled.stream.access import BearerTokens
from candled.stream.admission import ConnectionLimits
from candled.stream.grpc.limits import Limits
from candled.stream.grpc.security import SecurityFiles
from candled.stream.grpc.server import GrpcServer, open_grpc_server
from candled.stream.hub import Hub
from candled.stream.turns import Turns
from candled.stream.web.application import HttpCounts
from candled.stream.web.chart import FindSource
from candled.stream.web.server import serve_http


async def serve_http_port(
    settings: DaemonSettings,
    counts: HttpCounts,
    collectors: Collectors,
    not_ready_reasons: Callable[[], Sequence[str]],
    chart: FindSource | None = None,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve health, metrics and the chart until cancelled.

    Args:
        settings: address, tokens and limits, and whether there is a chart.
        counts: counters of the port.
        collectors: sources of ``/metrics``.
        not_ready_reasons: sentences why the daemon is not ready; none when it is.
        chart: finds the chart's bars; None: this role has none.
        task_status: started with the bound ``host:port``.
    """
    await serve_http(
        settings.http_address,
        not_ready_reasons=not_ready_reasons,
        collectors=collectors,
        tokens=BearerTokens(settings.tokens_file) if settings.tokens_file else None,
        chart=chart if settings.chart else None,
        counts=counts,
        limits=_connection_limits(settings),
        task_status=task_status,
    )


@asynccontextmanager
async def open_grpc_port(
    settings: DaemonSettings,
    address: str,
    *,
    hub: Hub,
    stored: BarReader,
    status: Callable[[], DaemonStatus],
    summary: Callable[[], DaemonStatus],
    turns: Turns,
    ahead_seconds: float = 0.0,
) -> AsyncIterator[GrpcServer]:
    """Serve the gRPC API while inside; see ``open_grpc_server``.

    Args:
        settings: certificates, tokens and limits of connections.
        address: ``host:port``; that of the settings, or the port that was chosen for it before.
        hub: source of the streams' bars. It is closed on leaving.
        stored: the closed bars.
        status: returns the daemon's status.
        summary: returns it without its symbols.
        turns: order of reads from the history.
        ahead_seconds: that a resume token ahead of what is known here may wait for it.
    """
    files = SecurityFiles(
        certificate=settings.grpc_tls_certificate,
        key=settings.grpc_tls_key,
        client_authority=settings.grpc_tls_client_authority,
        tokens=settings.tokens_file,
    )
    limits = Limits(connections=_connection_limits(settings), ahead_seconds=ahead_seconds)
    async with open_grpc_server(
        address, hub=hub, stored=stored, status=status, summary=summary, limits=limits, files=files, turns=turns
    ) as grpc:
        yield grpc


def _connection_limits(settings: DaemonSettings) -> ConnectionLimits:
    """Return the limits of client connections of one port."""
    return ConnectionLimits(
        total=settings.client_connections_max, per_address=settings.client_connections_per_address_max
    )


@asynccontextmanager
async def closed_at_end(turns: Turns) -> AsyncIterator[None]:
    """Let nobody read the history after the body: the HTTP port outlives it."""
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            await turns.close()
