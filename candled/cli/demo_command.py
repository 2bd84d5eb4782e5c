"""``candled demo``: run the daemon on the embedded exchange, in one process."""

import os
import shutil
import socket
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

import attrs
import click
import trio

from candled.cli import parts
from candled.cli.demo_cluster import make_plan, run_cluster
from candled.cli.settings_options import load_daemon_settings, load_exchange_settings, settings_options
from candled.cli.trio_runner import run_trio
from candled.config.proxies import DIRECT
from candled.config.settings import DaemonSettings, ExchangeSettings
from candled.config.sources import DEFAULT_SOURCE, show_value
from candled.telemetry.logging import LogCounts, configure_logging

if TYPE_CHECKING:
    from candled.daemon.roles import Addresses

DATA_DIR: Final = "candled-demo-data"
"""Separate from ``candled run``: synthetic bars are never stored beside real ones."""

BACKFILL_HOURS: Final = 3.0
"""Past bars, so that the chart is not empty at the start."""

_QUERY: Final = (
    "\"SELECT symbol, max(high), sum(volume) FROM bars WHERE interval = '1h' GROUP BY symbol ORDER BY symbol\""
)
_AHEAD: Final = timedelta(minutes=1)
"""A market further ahead of the wall clock than this is explained."""
_DEFAULTS: Final = {
    "data_dir": Path(DATA_DIR),
    "log_level": "warning",
    "backfill_hours": BACKFILL_HOURS,
    "loop_held_max": 0.0,  # the market computes its past in the same event loop
}
"""Settings whose defaults differ from those of ``candled run``."""
_OWN: Final = (
    *("exchange", "stream_urls", "rest_urls", "proxy", "role", "ingest_rank"),
    *("bus_urls", "bus_login_file", "bus_tls_authority", "bus_tls_certificate", "bus_tls_key"),
    *("bus_monitor_urls", "bus_replicas"),
)


@click.command("demo")
@click.option("--seed", metavar="N", help="Seed of the synthetic market. [env: CANDLED_SEED; default: 1]")
@click.option(
    "--speed",
    metavar="N",
    help="Speed of the market's clock, as a multiple of real time. [env: CANDLED_SPEED; default: 1]",
)
@click.option(
    "--faults", metavar="TEXT", help="Faults to inject: see `candled exchange --help`. [env: CANDLED_FAULTS]"
)
@click.option(
    "--edges",
    type=click.IntRange(1, 20),
    metavar="N",
    help="Run a cluster: this many edges serve clients, as processes of their own.",
)
@click.option("--ingesters", type=click.IntRange(1, 9), metavar="N", help="Ingesters of the cluster. [default: 2]")
@click.option(
    "--kill",
    "kills",
    multiple=True,
    metavar="NAME=TIME",
    help="Kill a process of the cluster after a time: ingest-0=20s, edge-1=1m, nats-0=30s; may be repeated.",
)
@settings_options(
    DaemonSettings,
    without=_OWN,
    defaults={
        **{name: show_value(value) for name, value in _DEFAULTS.items()},
        "grpc_address": "127.0.0.1:50051 or a free port",
        "http_address": "127.0.0.1:8080 or a free port",
    },
)
def command(
    config: str | None,
    seed: str | None,
    speed: str | None,
    faults: str | None,
    edges: int | None,
    ingesters: int | None,
    kills: tuple[str, ...],
    **options: Any,
) -> None:
    """Run the daemon on a synthetic market: no network, no account, nothing to set up.

    The same daemon as `candled run`, connected to the embedded exchange in the same process. It stores its bars in
    a directory of its own and prints what to try next. To see gaps repaired: `candled demo --faults cut=1m`.

    A cluster of processes on NATS JetStream, of which any may die: `candled demo --edges 2 --kill ingest-0=20s`.
    It needs the extra candled[cluster], and keeps no bars after its end.
    """
    loaded = load_daemon_settings(config, options)
    unset = {name for name, source in loaded.sources.items() if source == DEFAULT_SOURCE}
    changes: dict[str, Any] = {name: value for name, value in _DEFAULTS.items() if name in unset}
    for name in ("grpc_address", "http_address"):
        if name in unset and _in_use(getattr(loaded.settings, name)):
            changes[name] = "127.0.0.1:0"
    settings = attrs.evolve(loaded.settings, **changes)
    exchange = load_exchange_settings(config, {"seed": seed, "speed": speed, "faults": faults}).settings
    logs = configure_logging(settings.log_level, settings.log_format)
    exchange = attrs.evolve(exchange, address="127.0.0.1:0", symbols=settings.symbols)
    if edges or ingesters or kills:
        plan = make_plan(edges or 2, ingesters or 2, kills)
        click.echo(f"candled {version('candled')}: a cluster on {_market(exchange)} starts ...")
        run_trio(run_cluster, settings, exchange, plan, _announce_cluster)
        return
    start = None if exchange.epoch else market_start(datetime.now(UTC), _newest_bar_end(settings.data_dir))
    click.echo(_opening(settings, exchange, start))
    run_trio(_run, settings, exchange, logs, start)


def market_start(now: datetime, newest: datetime | None) -> datetime:
    """Return what the market's clock shows at its start: the present, or where the stored bars end.

    A faster market runs ahead of the wall clock; one that restarted at the present would produce trades of bars
    that are already stored.
    """
    return now if newest is None else max(now, newest)


def _newest_bar_end(data_dir: Path) -> datetime | None:
    if not data_dir.exists():
        return None
    with parts.connect_history(data_dir, check=False) as connection:
        row = connection.execute("SELECT max(close_time) FROM bars WHERE interval = '1m'").fetchone()
    return row[0] if row else None


async def _run(
    settings: DaemonSettings, exchange: ExchangeSettings, logs: LogCounts, start: datetime | None = None
) -> None:
    async with trio.open_nursery() as outer:  # the market outlives the daemon, as a real one does
        market = await outer.start(partial(parts.serve_exchange, exchange, start=start))
        settings = attrs.evolve(
            settings, stream_urls=(market.stream_url,), rest_urls=(market.rest_url,), proxy=DIRECT
        )
        progress = _StartProgress(sys.stdout)
        await parts.run_daemon(
            settings, logs, observe_start=progress.show, task_status=_Announcement(settings, progress)
        )
        outer.cancel_scope.cancel()


class _StartProgress:
    """Shows what a start does, on one line that is written over; a line for each phase where that cannot be."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._in_place = out.isatty() and os.environ.get("TERM") != "dumb"
        self._phase = ""
        self._over = False

    def show(self, phase: str, reason: str) -> None:
        """Show the phase and how far it is."""
        if self._over:
            return
        if self._in_place:
            self._out.write(f"\r\x1b[K{f'{phase}: {reason}'[: shutil.get_terminal_size().columns - 1]}")
            self._out.flush()
        elif phase != self._phase:
            click.echo(f"{phase} ...", self._out)
        self._phase = phase

    def end(self) -> None:
        """Clear the line: the daemon serves bars."""
        self._over = True
        if self._in_place:
            self._out.write("\r\x1b[K")


class _Announcement(trio.TaskStatus["Addresses"]):
    """Prints what to try once the daemon serves bars."""

    def __init__(self, settings: DaemonSettings, progress: _StartProgress) -> None:
        self._settings = settings
        self._progress = progress

    def started(self, value: "Addresses | None" = None) -> None:
        """See ``trio.TaskStatus``."""
        assert value is not None
        self._progress.end()
        click.echo(_next_steps(self._settings, value))
        sys.stdout.flush()


def _announce_cluster(addresses: str) -> None:
    click.echo(f"candled demo: a cluster of processes; Ctrl-C stops them all.\n\n{addresses}\n")
    sys.stdout.flush()


def _market(exchange: ExchangeSettings) -> str:
    pace = "" if exchange.speed == 1 else f", {exchange.speed:g} times as fast as real time"
    return f"a synthetic market (seed {exchange.seed}){pace}"


def _opening(settings: DaemonSettings, exchange: ExchangeSettings, start: datetime | None) -> str:
    lines = [f"candled {version('candled')}: {_market(exchange)}; bars are stored in {settings.data_dir}."]
    if start is not None and start - datetime.now(UTC) > _AHEAD:
        lines.append(
            f"The market continues at {start:%Y-%m-%d %H:%M} UTC, where the bars of a faster demo end. "
            "Another --data-dir begins at the present."
        )
    return "\n".join(lines)


def _next_steps(settings: DaemonSettings, addresses: "Addresses") -> str:
    standard = DaemonSettings()
    client = "" if addresses.grpc == standard.grpc_address else f" --address {addresses.grpc}"
    data = f" --data-dir {settings.data_dir}"
    candled = program(sys.argv[0], shutil.which("candled"))
    lines = (
        f"candled demo: live bars of {', '.join(settings.symbols)} from a synthetic market. Ctrl-C stops it.",
        "",
        f"In a browser:          http://{addresses.http}/",
        f"In another terminal:   {candled} watch{client}",
        f"                       {candled} status{client}",
        f"                       {candled} bars {settings.symbols[0]}{data}",
        f"                       {candled} sql{data} {_QUERY}",
        f"For your own program:  gRPC at {addresses.grpc} (candled.v1.CandleService, with reflection)",
        "",
    )
    return "\n".join(lines)


def program(called: str, on_path: str | None) -> str:
    """Return how to call this program from the same directory: by its path, if it is not on PATH."""
    return called if on_path is None and Path(called).name == "candled" else "candled"


def _in_use(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError:
            return True
    return False
