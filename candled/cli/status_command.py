"""``candled status``: show the state of a daemon and its symbols."""

import json
from collections.abc import Sequence
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
    """Show the state of a daemon and its symbols: readiness, lag, gaps and their repair.

    A daemon that is still starting is asked over its HTTP port, if --address is not given. Exit status 0 if the
    daemon is ready, 3 if it answers and is not ready.
    """
    found: list[Any] = []

    async def fetch() -> None:
        async with parts.open_client(target) as client:
            found.append(await client.status())

    try:
        run_trio(fetch)
    except parts.NoDaemonError:
        reasons = parts.starting_reasons(target.http_address) if target.http_address else ()
        if not reasons:
            raise
        _show_starting(reasons, form)
        raise SystemExit(3) from None
    status = found[0]
    if form == "json":
        click.echo(json.dumps(plain_value(attrs.asdict(status), zone), indent=2, ensure_ascii=False))
    else:
        _show(status, zone)
    if not status.ready:
        raise SystemExit(3)


def _show_starting(reasons: Sequence[str], form: str) -> None:
    if form == "json":
        click.echo(json.dumps({"ready": False, "not_ready_reasons": reasons}, indent=2, ensure_ascii=False))
        return
    click.echo("NOT READY")
    for reason in reasons:
        click.echo(f"  {reason}")


def _show(status: Any, zone: tzinfo) -> None:
    uptime = str(datetime.now(UTC) - status.start_time).partition(".")[0]
    click.echo(f"candled {status.version} on {status.exchange}, up {uptime}, streams open: {status.subscribers}")
    click.echo(f"exchange time {show_time(status.exchange_time, zone)}")
    if status.process:
        click.echo(f"answered by {status.process}; ingesters: {_ingesters(status)}")
    click.echo("ready" if status.ready else "NOT READY")
    for sentence in (*status.not_ready_reasons, *status.notices):
        click.echo(f"  {sentence}")
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
            click.echo(f"{symbol.symbol}: {symbol.minutes_left} minutes have ended and have no bar yet")
        for gap in symbol.gaps:
            reason = f": {gap.reason}" if gap.reason else ""
            click.echo(f"{symbol.symbol}: {gap.state.value} gap {gap.first_trade_id}..{gap.last_trade_id}{reason}")


def _ingesters(status: Any) -> str:
    named = (
        f"{each.name} (rank {each.rank}, symbols {each.symbols}{'' if each.ready else ', NOT READY'})"
        for each in status.ingesters
    )
    return ", ".join(named) or "none reports"
