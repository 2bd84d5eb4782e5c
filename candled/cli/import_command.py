"""``candled import``: import bars from the exchange's archive files."""

from datetime import UTC, datetime
from pathlib import Path

import click

from candled.cli.progress import progress_bar
from candled.cli.settings_options import config_option, data_dir_setting, load_daemon_settings
from candled.cli.times import show_time
from candled.cli.trio_runner import run_trio
from candled.domain.interval import MICROSECONDS


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@data_dir_setting
@config_option
def command(files: tuple[Path, ...], data_dir: str | None, config: str | None) -> None:
    """Import FILES of Binance's public archive: zips of klines, trades or aggTrades.

    No daemon may use the directory at the same time, and its bars must be of Binance. A .CHECKSUM file beside an
    archive is checked. Stored bars that are complete are not changed. An interrupted import continues when called
    again.
    """
    from candled.backfill.from_archive import ImportReport, import_archives
    from candled.daemon.history_settings import history_settings
    from candled.feed.registry import find_adapter

    settings = load_daemon_settings(config, {"data_dir": data_dir}).settings
    reports: list[ImportReport] = []

    async def fill() -> None:
        reports.append(
            await import_archives(
                settings.data_dir,
                files,
                exchange=find_adapter("binance").identity,
                settings=history_settings(settings),
                progress=progress,
            )
        )

    with progress_bar("bytes") as progress:
        run_trio(fill)
    report = reports[0]
    click.echo(
        f"{report.bars_added} bars added, {report.bars_revised} revised, {report.bars_known} already stored, "
        f"{report.bars_different} different from complete stored bars and not imported."
    )
    if report.rows_refused:
        click.echo(f"{report.rows_refused} rows left out: they hold values that cannot be.", err=True)
    for refusal in report.refused:
        first = show_time(datetime.fromtimestamp(refusal.first_open_time // MICROSECONDS, UTC), UTC)
        click.echo(
            f"{refusal.path}: {refusal.count} bars refused, the first at {first}: {refusal.reason}.",
            err=True,
        )
    for path in report.files_without_checksum:
        click.echo(f"candled: no .CHECKSUM file beside {path}: imported without a check", err=True)
    for path, minutes in report.disputed.items():
        first = show_time(datetime.fromtimestamp(minutes[0] // MICROSECONDS, UTC), UTC)
        click.echo(
            f"{path}: {len(minutes)} minutes have rows that contradict each other or themselves, "
            f"the first at {first}. No such row was taken: repair these minutes from the exchange.",
            err=True,
        )
