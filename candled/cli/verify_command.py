"""``candled verify``: whether the stored bars are whole, proven, and what the exchange says."""

import json
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any

import attrs
import click

from candled.cli import parts
from candled.cli.output import plain_value, write_rows
from candled.cli.progress import progress_bar
from candled.cli.settings_options import config_option, load_daemon_settings
from candled.cli.times import parse_time, tz_option
from candled.cli.trio_runner import run_trio
from candled.domain.interval import MINUTE
from candled.errors import UserError
from candled.settings import DaemonSettings

if TYPE_CHECKING:
    from candled.domain.bar import Bar
    from candled.history.verify import Finding


@click.command("verify")
@click.option("--klines", is_flag=True, help="Compare every bar with the exchange's own kline too, over REST.")
@click.option("--from", "start", metavar="TIME", help="With --klines: from this open time on. [default: -1d]")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--data-dir", metavar="DIR", help="Where bars are kept. [env: CANDLED_DATA_DIR]")
@click.option("--rest-urls", metavar="A,B,...", help="With --klines: where to ask. [env: CANDLED_REST_URLS]")
@tz_option
@config_option
def command(klines: bool, start: str | None, form: str, zone: tzinfo, config: str | None, **options: Any) -> None:
    """Look the data directory over: damaged files, holes, duplicates, gaps in trade ids, bars not proven complete.

    Works while a daemon writes. Exit status 0 when all is well, 1 when something was found.
    """
    from candled.history.verify import verify

    settings = load_daemon_settings(config, options).settings
    since = parse_time(start or "-1d", zone, option="--from")
    truth = _klines(settings, since) if klines else []
    with progress_bar("files") as progress, parts.interruptible():
        findings = verify(settings.data_dir, klines=truth, progress=progress)
    _show(findings, form, zone)
    if findings:
        raise SystemExit(1)
    if form == "table":
        compared = f", {len(truth)} of them compared with the exchange's klines" if klines else ""
        click.echo(f"All bars in {settings.data_dir} are whole{compared}.")


def _klines(settings: DaemonSettings, since: datetime) -> "list[Bar]":
    """The exchange's klines of every stored symbol, from a time or its first stored bar up to its newest one.

    Raises:
        UserError: the bars are of another exchange, or this one does not answer.
    """
    from candled.history.directory import read_identity

    with parts.connect_history(settings.data_dir) as connection:
        spans = connection.execute(
            "SELECT symbol, min(open_time), max(open_time) FROM bars WHERE interval = '1m' GROUP BY 1 ORDER BY 1"
        ).fetchall()
    stored_of = (read_identity(settings.data_dir) or {}).get("exchange")
    found: list[Bar] = []

    async def fetch() -> None:
        async with parts.open_exchange(settings.rest_urls, settings.rest_weight_per_minute) as rest:
            asked = (await rest.describe([symbol for symbol, _, _ in spans])).identity
            if asked != stored_of:
                raise UserError(f"{settings.data_dir} holds bars of {stored_of}, and --rest-urls is {asked}.")
            for number, (symbol, first, last) in enumerate(spans):
                progress(number, len(spans), f"klines of {symbol}")
                time, end = _microseconds(max(since, first)), _microseconds(last)
                while time <= end and (page := await rest.klines(symbol, time)):
                    found.extend(bar for bar in page if bar.open_time <= end)
                    time = page[-1].open_time + MINUTE

    with progress_bar("symbols") as progress:
        run_trio(fetch)
    return found


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000


def _show(findings: "list[Finding]", form: str, zone: tzinfo) -> None:
    rows = [
        (finding.kind.value, finding.symbol, _time(finding.start), _time(finding.end), finding.text)
        for finding in findings
    ]
    if form == "json":
        documents = [
            attrs.asdict(finding) | {"kind": finding.kind.value, "start": since, "end": until}
            for finding, (_, _, since, until, _) in zip(findings, rows, strict=True)
        ]
        click.echo(json.dumps(plain_value(documents, zone), indent=2, ensure_ascii=False))
    elif rows:
        write_rows(("found", "symbol", "from", "to", "what"), rows, "table", zone=zone)


def _time(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else datetime.fromtimestamp(microseconds // 1_000_000, UTC)
