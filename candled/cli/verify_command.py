"""``candled verify``: check the stored bars for damage, holes and proof, and against the exchange's klines."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from candled.cli import parts
from candled.cli.output import plain_value, write_rows
from candled.cli.progress import progress_bar
from candled.cli.query_interrupt import ending_on_ctrl_c
from candled.cli.settings_options import config_option, data_dir_setting, exchange_setting, load_daemon_settings
from candled.cli.stored_history_option import stored_history_options
from candled.cli.times import parse_time, tz_option
from candled.cli.trio_runner import run_trio
from candled.config.settings import DaemonSettings
from candled.domain.interval import MINUTE
from candled.errors import UserError

if TYPE_CHECKING:
    from candled.domain.bar import Bar
    from candled.history.verify import Finding


@click.command("verify")
@click.option("--klines", is_flag=True, help="Also compare bars with the exchange's klines, fetched over REST.")
@click.option("--from", "start", metavar="TIME", help="With --klines: first open time. [default: -1d]")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@exchange_setting
@data_dir_setting
@click.option(
    "--rest-urls",
    metavar="A,B,...",
    help="With --klines: REST base URLs of the exchange. [env: CANDLED_REST_URLS]",
)
@click.option("--proxy", metavar="URL", help="With --klines: proxy to the exchange. [env: CANDLED_PROXY]")
@tz_option
@config_option
@stored_history_options(selects=False)
def command(
    klines: bool,
    start: str | None,
    form: str,
    zone: tzinfo,
    config: str | None,
    history: parts.StoredHistory | None,
    **options: Any,
) -> None:
    """Check the data directory: damaged files, holes, duplicates, gaps in trade ids, bars that are not complete.

    With --history the same of a history in an object store: every object is read. Works while a daemon is running.
    Exit status 0 if nothing is found, 1 otherwise.
    """
    from candled.feed.registry import find_adapter
    from candled.history.verify import NINE_FIELDS, PRICES_AND_VOLUME

    settings = load_daemon_settings(config, options).settings
    since = parse_time(start or "-1d", zone, option="--from")
    source = history or settings.data_dir
    truth = _klines(settings, source, since) if klines else []
    carries_all = find_adapter(settings.exchange).capabilities.klines_carry_trade_count
    fields = NINE_FIELDS if carries_all else PRICES_AND_VOLUME
    findings = _verify(source, truth, fields)
    _show(findings, form, zone)
    if findings:
        raise SystemExit(1)
    if form == "table":
        compared = f", {len(truth)} of them compared with the exchange's klines" if klines else ""
        click.echo(f"All bars in {history.url if history else settings.data_dir} are whole{compared}.")


def _verify(source: Path | parts.StoredHistory, klines: "list[Bar]", fields: Sequence[str]) -> "list[Finding]":
    from candled.history.verify import verify

    with progress_bar("files") as progress, parts.interruptible():
        if isinstance(source, Path):
            return verify(source, klines=klines, compared=fields, progress=progress, guard=ending_on_ctrl_c)
        from candled.history.objects.verifying import verify_stored

        cache = parts.open_history_cache(source)
        return verify_stored(
            cache.bucket, cache, klines=klines, compared=fields, progress=progress, guard=ending_on_ctrl_c
        )


def _klines(settings: DaemonSettings, source: Path | parts.StoredHistory, since: datetime) -> "list[Bar]":
    """Fetch the exchange's klines of every stored symbol, from ``since`` or its first stored bar to its newest.

    Raises:
        UserError: the bars are of another exchange, or the exchange does not answer.
    """
    from candled.feed.registry import find_adapter
    from candled.history.directory import read_identity

    with parts.connect_history(source, check=False) as connection:
        spans = connection.execute(
            "SELECT symbol, min(open_time), max(open_time) FROM bars WHERE interval = '1m' GROUP BY 1 ORDER BY 1"
        ).fetchall()
    if not spans:
        return []
    if isinstance(source, Path):
        stored_of, where = (read_identity(source) or {}).get("exchange"), f"Directory {source}"
    else:
        stored_of, where = parts.open_history_cache(source).identity.exchange, f"The history {source.url}"
    found: list[Bar] = []

    capabilities = find_adapter(settings.exchange).capabilities
    page_rows = capabilities.kline_page

    async def fetch() -> None:
        async with parts.open_exchange(settings) as rest:
            asked = (await rest.describe([symbol for symbol, _, _ in spans])).identity
            if asked != stored_of:
                raise UserError(
                    f"{where} has bars of {stored_of}, and --rest-urls is {asked}: give the URLs of that exchange."
                )
            for number, (symbol, first, last) in enumerate(spans):
                progress(number, len(spans), f"klines of {symbol}")
                time, end = _microseconds(max(since, first)), _microseconds(last)
                while time <= end:
                    page = await rest.klines(symbol, time, page_rows)
                    found.extend(bar for bar in page.bars if bar.open_time <= end)
                    if page.end is not None:
                        time = max(time + MINUTE, page.end)
                    elif capabilities.empty_minutes:
                        break
                    else:  # nothing was traded for a whole page
                        time += page_rows * MINUTE

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
