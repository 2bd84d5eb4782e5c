"""``candled demo``: the daemon on the embedded exchange, in one process."""

import shutil
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import click
import trio

from candled.cli import parts
from candled.cli.settings_options import load_daemon_settings, load_exchange_settings, settings_options
from candled.cli.trio_runner import run_trio
from candled.errors import UserError
from candled.logs import LogCounts, configure_logging
from candled.settings import DaemonSettings, ExchangeSettings
from candled.settings_sources import DEFAULT_SOURCE, show_value

if TYPE_CHECKING:
    from candled.daemon import Addresses

DATA_DIR: Final = "candled-demo-data"
"""Its own, so that made-up bars never lie beside real ones."""

BACKFILL_HOURS: Final = 3.0
"""So that there is a chart to look at from the first second."""

_QUERY: Final = "\"SELECT symbol, max(high), sum(volume) FROM bars WHERE interval = '1h' GROUP BY symbol\""
_OWN: Final = ("stream_urls", "rest_urls")


@click.command("demo")
@click.option("--seed", metavar="N", help="Seed of the made-up market. [env: CANDLED_SEED; default: 1]")
@click.option("--speed", metavar="N", help="How many times faster time runs. [env: CANDLED_SPEED; default: 1]")
@click.option(
    "--faults", metavar="TEXT", help="Faults of the market, as `candled exchange` has them. [env: CANDLED_FAULTS]"
)
@settings_options(
    DaemonSettings,
    without=_OWN,
    defaults={
        "data_dir": DATA_DIR,
        "log_level": "warning",
        "backfill_hours": show_value(BACKFILL_HOURS),
        "grpc_address": "127.0.0.1:50051 or a free port",
        "http_address": "127.0.0.1:8080 or a free port",
    },
)
def command(config: str | None, seed: str | None, speed: str | None, faults: str | None, **options: Any) -> None:
    """Run the daemon on a made-up market: no network, no account, nothing to set up.

    The same daemon as `candled run`, fed by the embedded exchange in the same process. It keeps its bars in a
    directory of its own and says what to look at next. To see gaps repaired: `candled demo --faults cut=1m`.
    """
    loaded = load_daemon_settings(config, options)
    settings = loaded.settings
    if loaded.sources["data_dir"] == DEFAULT_SOURCE:
        settings = attrs.evolve(settings, data_dir=Path(DATA_DIR))
    if loaded.sources["backfill_hours"] == DEFAULT_SOURCE:
        settings = attrs.evolve(settings, backfill_hours=BACKFILL_HOURS)
    if loaded.sources["log_level"] == DEFAULT_SOURCE:
        settings = attrs.evolve(settings, log_level="warning")
    if loaded.sources["grpc_address"] == DEFAULT_SOURCE and _in_use(settings.grpc_address):
        settings = attrs.evolve(settings, grpc_address="127.0.0.1:0")
    if loaded.sources["http_address"] == DEFAULT_SOURCE and _in_use(settings.http_address):
        settings = attrs.evolve(settings, http_address="127.0.0.1:0")
    exchange = load_exchange_settings(config, {"seed": seed, "speed": speed, "faults": faults}).settings
    logs = configure_logging(settings.log_level, settings.log_format)
    newest = _newest_bar_end(settings.data_dir)
    exchange = attrs.evolve(
        exchange,
        address="127.0.0.1:0",
        symbols=settings.symbols,
        epoch=exchange.epoch or market_epoch(datetime.now(UTC), newest, exchange.speed, settings.data_dir),
    )
    run_trio(_run, settings, exchange, logs)


def market_epoch(now: datetime, newest: datetime | None, speed: float, data_dir: Path) -> str:
    """When the market's clock equals the wall clock, so that its time is now or, if bars are newer, goes on there.

    A faster market runs ahead of the wall clock; one that began again at the present would have only trades that
    the stored bars hold already.

    Raises:
        UserError: bars are ahead of the wall clock and the market is not to run faster.
    """
    if newest is None or newest <= now:
        return now.isoformat()
    if speed <= 1:
        raise UserError(
            f"{data_dir} holds bars up to {newest:%Y-%m-%d %H:%M} UTC, ahead of the clock, from a faster demo: "
            "give --speed more than 1, or another --data-dir, or delete it."
        )
    return (now - (newest - now) / (speed - 1)).isoformat()


def _newest_bar_end(data_dir: Path) -> datetime | None:
    if not data_dir.exists():
        return None
    with parts.connect_history(data_dir) as connection:
        row = connection.execute("SELECT max(close_time) FROM bars WHERE interval = '1m'").fetchone()
    return row[0] if row else None


async def _run(settings: DaemonSettings, exchange: ExchangeSettings, logs: LogCounts) -> None:
    async with trio.open_nursery() as outer:  # the market outlives the daemon, as a real one does
        market = await outer.start(parts.serve_exchange, exchange)
        settings = attrs.evolve(settings, stream_urls=(market.stream_url,), rest_urls=(market.rest_url,))
        await parts.run_daemon(settings, logs, task_status=_Announcement(settings))
        outer.cancel_scope.cancel()


class _Announcement(trio.TaskStatus["Addresses"]):
    """Says what to look at once the daemon serves bars; one that is ended before that says nothing."""

    def __init__(self, settings: DaemonSettings) -> None:
        self._settings = settings

    def started(self, value: "Addresses | None" = None) -> None:
        """See ``trio.TaskStatus``."""
        assert value is not None
        click.echo(_next_steps(self._settings, value))
        sys.stdout.flush()


def _next_steps(settings: DaemonSettings, addresses: "Addresses") -> str:
    standard = DaemonSettings()
    client = "" if addresses.grpc == standard.grpc_address else f" --address {addresses.grpc}"
    data = f" --data-dir {settings.data_dir}"
    candled = program(sys.argv[0], shutil.which("candled"))
    lines = (
        f"candled demo: live bars of {', '.join(settings.symbols)} from a made-up market. Ctrl-C ends it.",
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
    """How this program is called from the same directory: from a virtual environment, by its path."""
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
