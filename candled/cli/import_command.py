"""``candled import``: bars from the exchange's archive files."""

from pathlib import Path

import click

from candled.cli.progress import progress_bar
from candled.cli.settings_options import config_option, load_daemon_settings
from candled.cli.trio_runner import run_trio


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--data-dir", metavar="DIR", help="Where bars are kept. [env: CANDLED_DATA_DIR]")
@config_option
def command(files: tuple[Path, ...], data_dir: str | None, config: str | None) -> None:
    """Import FILES of Binance's public archive: zips of klines, trades or aggTrades.

    No daemon may hold the directory meanwhile, and its bars must be Binance's. A .CHECKSUM file beside an archive
    is checked. Bars that are stored and proven stay as they are. An import that was stopped goes on when it is
    called again.
    """
    from candled.feed.binance.rest import IDENTITY
    from candled.history import HistorySettings
    from candled.history.importing import ImportReport, import_archives

    settings = load_daemon_settings(config, {"data_dir": data_dir}).settings
    reports: list[ImportReport] = []

    async def fill() -> None:
        reports.append(
            await import_archives(
                settings.data_dir,
                files,
                exchange=IDENTITY,
                settings=HistorySettings.of(settings),
                progress=progress,
            )
        )

    with progress_bar("bytes") as progress:
        run_trio(fill)
    report = reports[0]
    click.echo(
        f"{report.bars_added} bars added, {report.bars_revised} revised, {report.bars_known} known already, "
        f"{report.bars_different} different from proven ones and left as they are."
    )
    for path in report.files_without_checksum:
        click.echo(f"no checksum beside {path}: taken as it is", err=True)
