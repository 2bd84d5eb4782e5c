"""The HTTP port: an application of Starlette, spoken to by Hypercorn's protocol over connections of our own."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, Final, cast

import attrs
import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp

from candled.errors import UserError
from candled.stream.accept import accept_connections, connections_max
from candled.stream.access import BearerTokens
from candled.stream.admission import Admission, ConnectionLimits, Ticket
from candled.stream.sockets import joined, listen
from candled.stream.web.application import HttpCounts, make_application
from candled.stream.web.chart import FindSource, chart_routes
from candled.stream.web.connection import HttpConnection, HttpTimes
from candled.stream.web.overflow import Overflow, OverflowApplication

_log = structlog.get_logger(__name__)

_BACKLOG: Final = 128
_HEADER_BYTES_MAX: Final = 16_384
_DESCRIPTORS_SHARE: Final = 1 / 8
"""Of the descriptors that clients may use; the gRPC port has the rest."""


async def serve_http(
    address: str,
    *,
    not_ready_reasons: Callable[[], Sequence[str]],
    collectors: Sequence[Collector] = (),
    chart: FindSource | None = None,
    tokens: BearerTokens | None = None,
    counts: HttpCounts | None = None,
    limits: ConnectionLimits | None = None,
    times: HttpTimes = HttpTimes(),  # noqa: B008 - it is frozen
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve health, metrics and the chart until cancelled.

    Args:
        address: ``host:port``; port 0: the system chooses one.
        not_ready_reasons: sentences why the daemon is not ready; none when it is.
        collectors: sources of ``/metrics``, read at each scrape.
        chart: returns the chart's source of bars, or why there is none yet; None: no chart.
        tokens: required for bars and metrics; None: no tokens.
        counts: counters of the port.
        limits: limits of its connections.
        times: timeouts of a connection.
        task_status: started with the bound ``host:port`` once requests are accepted.

    Raises:
        AddressError: the address cannot be listened on.
    """
    counts = counts or HttpCounts()
    application = make_application(
        not_ready_reasons=not_ready_reasons,
        registry=_registry(collectors),
        more_routes=chart_routes(chart) if chart else (),
        allow=_renewing(tokens) if tokens else None,
        counts=counts,
    )
    listener = listen(address, setting="http_address", backlog=_BACKLOG)
    bound = joined(*listener.getsockname()[:2])
    limits = limits or ConnectionLimits(pending_seconds=times.request)
    total = connections_max(limits.total, _DESCRIPTORS_SHARE)
    counts.admission = Admission(attrs.evolve(limits, total=total))
    beyond = Admission(ConnectionLimits())
    serve = _speaker_of(application, times, counts)
    refuse = _speaker_of(OverflowApplication(application), times, counts)

    async def serve_overflow(sock: trio.socket.SocketType) -> None:
        await refuse(sock, beyond.admit(""))

    with trio.socket.from_stdlib_socket(listener) as accepting:
        async with trio.open_nursery() as nursery:
            overflow = Overflow(nursery, serve_overflow)
            task_status.started(bound)
            await accept_connections(accepting, counts.admission, serve, refuse=overflow.take)


def _speaker_of(
    application: ASGIApp, times: HttpTimes, counts: HttpCounts
) -> Callable[[trio.socket.SocketType, Ticket], Awaitable[None]]:
    """Return what serves one connection by an application, to its end."""
    config = Config()
    config.h11_max_incomplete_size = _HEADER_BYTES_MAX
    config.errorlog = logging.getLogger("hypercorn.error")
    config.include_server_header = False

    async def serve(sock: trio.socket.SocketType, ticket: Ticket) -> None:
        wrapped, stream = ASGIWrapper(cast("Any", application)), trio.SocketStream(sock)
        await HttpConnection(wrapped, config, stream, ticket, times, counts.cuts).run()

    return serve


def _registry(collectors: Sequence[Collector]) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    for collector in collectors:
        registry.register(_OnLoop(collector))
    return registry


class _OnLoop(Collector):
    """Reads a collector on the event loop, one family at a time, for a thread that formats it."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def collect(self) -> Iterator[Metric]:
        """Yield the families, in order; call it in a thread of Trio's."""
        families = iter(self._collector.collect())
        while (family := trio.from_thread.run_sync(next, families, None)) is not None:
            yield family

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering reads nothing."""
        return ()


def _renewing(tokens: BearerTokens) -> Callable[[str | None], bool]:
    """Return a check that rereads the tokens file when it changes; an unusable file changes nothing."""

    def allow(authorization: str | None) -> bool:
        try:
            tokens.reload()
        except UserError as error:
            _log.error("reload of tokens rejected; keeping current ones", reason=str(error))
        return tokens.allow(authorization)

    return allow
