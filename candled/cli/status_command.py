"""``candled status``: how a daemon and its symbols fare."""

import json
from datetime import UTC, datetime, tzinfo
from typing import Any

import attrs
import click

from candled.cli import parts
from candled.cli.address_option import Target, target_option
from candled.cli.output import plain_value, write_rows
from candled.cli.times import show_time, tz_option
from candled.cli.trio_runner import run_trio


@click.command("status")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@tz_option
@target_option
def command(form: str, zone: tzinfo, target: Target) -> None:
    """Show how a daemon and its symbols fare: freshness, lag, gaps and their repair.

    Exit status 0 when the daemon is ready, 3 when it answers but is not.
    """
    found: list[Any] = []

    async def fetch() -> None:
        async with parts.open_client(target) as client:
            found.append(await client.status())

    run_trio(fetch)
    status = found[0]
    if form == "json":
        click.echo(json.dumps(plain_value(attrs.asdict(status), zone), indent=2, ensure_ascii=False))
    else:
        _show(status, zone)
    if not status.ready:
        raise SystemExit(3)


def _show(status: Any, zone: tzinfo) -> None:
    uptime = str(datetime.now(UTC) - status.start_time).partition(".")[0]
    click.echo(f"candled {status.version} on {status.exchange}, up {uptime}, streams open: {status.subscribers}")
    click.echo(f"exchange time {show_time(status.exchange_time, zone)}")
    click.echo("ready" if status.ready else "NOT READY")
    for reason in status.not_ready_reasons:
        click.echo(f"  {reason}")
    click.echo()
    columns = (
        "symbol",
        "status",
        "live",
        "price",
        "last_trade",
        "lag_ms",
        "trades",
        "gaps",
        "filled",
        "reconnects",
    )
    rows = [
        (
            symbol.symbol,
            symbol.status,
            "yes" if symbol.live else "NO",
            symbol.last_price,
            symbol.last_trade_time,
            round(symbol.lag_ms),
            symbol.trades,
            sum(gap.state.value != "filled" for gap in symbol.gaps),
            symbol.gaps_filled,
            symbol.reconnects,
        )
        for symbol in status.symbols
    ]
    write_rows(columns, rows, "table", zone=zone)
    for symbol in status.symbols:
        if symbol.minutes_left > 1:
            click.echo(f"{symbol.symbol}: {symbol.minutes_left} minutes that have ended have no bar yet")
        for gap in symbol.gaps:
            reason = f": {gap.reason}" if gap.reason else ""
            click.echo(f"{symbol.symbol}: {gap.state.value} gap {gap.first_trade_id}..{gap.last_trade_id}{reason}")
