"""The HTTP port: an application of Starlette on Hypercorn's Trio worker."""

import logging
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Final

import structlog
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from candled.errors import UserError
from candled.stream.access import BearerTokens
from candled.stream.sockets import joined, listen
from candled.stream.web.application import HttpCounts, make_application
from candled.stream.web.chart import ChartSource, chart_routes

_log = structlog.get_logger(__name__)

_BACKLOG: Final = 128
_KEEP_ALIVE_SECONDS: Final = 75
_HEADER_BYTES_MAX: Final = 16_384
_UNREAD_MILLISECONDS_MAX: Final = 5_000
"""How long what was sent may stay unread."""


async def serve_http(
    address: str,
    *,
    not_ready_reasons: Callable[[], Sequence[str]],
    collectors: Sequence[Collector] = (),
    chart: Callable[[], ChartSource | None] | None = None,
    tokens: BearerTokens | None = None,
    counts: HttpCounts | None = None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve health, metrics and the chart until cancelled.

    Arguments:
        address: ``host:port``; with port 0 the system chooses one.
        not_ready_reasons: sentences that say why the daemon is not ready now; none when it is.
        collectors: what ``/metrics`` shows, read at each scrape.
        chart: where the chart gets its bars, which gives None until the daemon has any; no function, no chart.
        tokens: who asks for bars or metrics must send one of these; None asks for none.
        counts: what the port does is counted here.
        task_status: started with the bound ``host:port`` once requests are taken.

    Raises:
        AddressError: the address cannot be listened on.
    """
    registry = CollectorRegistry(auto_describe=False)
    for collector in collectors:
        registry.register(collector)
    application = make_application(
        not_ready_reasons=not_ready_reasons,
        registry=registry,
        more_routes=chart_routes(chart) if chart else (),
        allow=_renewing(tokens) if tokens else None,
        counts=counts or HttpCounts(),
    )
    listener = listen(address, setting="http_address", backlog=_BACKLOG)
    if sys.platform == "linux":
        # A client that stops reading would hold a sending task, and so the daemon's end, for ever: Hypercorn
        # shields its writes from cancellation. So the kernel gives such a connection up; accepted sockets
        # inherit this.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD_MILLISECONDS_MAX)
    bound = joined(*listener.getsockname()[:2])
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]  # Hypercorn owns it from here
    config.backlog = _BACKLOG
    config.keep_alive_timeout = _KEEP_ALIVE_SECONDS
    config.h11_max_incomplete_size = _HEADER_BYTES_MAX
    config.errorlog = logging.getLogger("hypercorn.error")
    config.include_server_header = False
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, application, config)
        task_status.started(bound)


def _renewing(tokens: BearerTokens) -> Callable[[str | None], bool]:
    """Look at the file of tokens again before each use; what cannot be used changes nothing."""

    def allow(authorization: str | None) -> bool:
        try:
            tokens.reload()
        except UserError as error:
            _log.error("tokens cannot be renewed, the old ones stay", reason=str(error))
        return tokens.allow(authorization)

    return allow
