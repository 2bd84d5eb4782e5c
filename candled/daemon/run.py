"""Run the daemon in one of its roles, until a signal stops it."""

import signal
from collections.abc import Callable
from contextlib import suppress

import structlog
import trio

from candled.config.proxies import NO_PROXIES, Proxies
from candled.config.settings import DaemonSettings
from candled.daemon.garbage import set_aside_long_lived
from candled.daemon.lifecycle import Phase
from candled.daemon.roles import Addresses, Reload, RoleContext, ServeRole
from candled.stream.accept import raise_descriptor_limit
from candled.telemetry.log_limit import PERIOD_SECONDS
from candled.telemetry.logging import LogCounts

log = structlog.get_logger(__name__)


async def run_daemon(
    settings: DaemonSettings,
    *,
    proxies: Proxies = NO_PROXIES,
    reread: Callable[[], DaemonSettings] | None = None,
    logs: LogCounts | None = None,
    observe_start: Callable[[str, str], None] | None = None,
    task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run until SIGTERM or SIGINT, then end in order.

    Args:
        settings: those of ``candled run``.
        proxies: which proxy the exchange is reached through.
        reread: reads the settings again on SIGHUP; without it, SIGHUP ends the process as usual.
        logs: counts of log lines, for the metrics.
        observe_start: called at each change with the name of the phase and its progress.
        task_status: started with the bound addresses once bars can be streamed and queried.

    Raises:
        UserError: something outside candled keeps it from working; the text says what to change.
    """
    raise_descriptor_limit()
    numbers = [signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if reread else [])]
    with trio.open_signal_receiver(*numbers) as signals:
        async with trio.open_nursery() as nursery:
            stop, live = trio.Event(), trio.Event()
            ask_to_reload, reload_requests = trio.open_memory_channel[None](1)

            async def wait_for_signal() -> None:
                async for number in signals:
                    if number == signal.SIGHUP:
                        with suppress(trio.WouldBlock):  # a request that waits is enough
                            ask_to_reload.send_nowait(None)
                        continue
                    log.info("stopping", signal=signal.Signals(number).name)
                    stop.set()

            def observe(phase: str, reason: str) -> None:
                if phase == Phase.LIVE.value:
                    live.set()
                if observe_start is not None:
                    observe_start(phase, reason)

            nursery.start_soon(wait_for_signal)
            nursery.start_soon(set_aside_long_lived, live)
            if logs is not None:
                nursery.start_soon(_flush_logs, logs)
            context = RoleContext(
                settings,
                stop,
                proxies=proxies,
                reload=Reload(reread, reload_requests) if reread else None,
                logs=logs,
                observe_start=observe,
            )
            await _serve_of(settings.role)(context, task_status=task_status)
            nursery.cancel_scope.cancel()


async def _flush_logs(logs: LogCounts) -> None:
    """Log the sums of suppressed lines now and then, until cancelled."""
    while True:
        await trio.sleep(PERIOD_SECONDS)
        logs.flush()


def _serve_of(role: str) -> ServeRole:
    """Return what serves a role; each is imported only where it is used, so that ``all`` knows of no bus."""
    if role == "ingest":
        from candled.daemon.ingester import serve_ingester

        return serve_ingester
    if role == "edge":
        from candled.daemon.edge import serve_edge

        return serve_edge
    from candled.daemon.root import serve_daemon

    return serve_daemon
