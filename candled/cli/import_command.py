"""``candled import``: bars from the exchange's archive files."""

from pathlib import Path

import click

from candled.cli.progress import progress_bar
from candled.cli.settings_options import data_dir_option
from candled.cli.trio_runner import run_trio


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@data_dir_option
def command(files: tuple[Path, ...], data_dir: Path) -> None:
    """Import FILES of Binance's public archive: zips of klines, trades or aggTrades.

    No daemon may hold the directory meanwhile. A .CHECKSUM file beside an archive is checked. Bars that are stored
    and proven stay as they are. An import that was stopped goes on when it is called again.
    """
    from candled.feed.binance.rest import IDENTITY
    from candled.history.directory import read_identity
    from candled.history.importing import ImportReport, import_archives

    exchange = "" if data_dir.is_dir() and read_identity(data_dir) else IDENTITY
    reports: list[ImportReport] = []

    async def fill() -> None:
        reports.append(await import_archives(data_dir, files, exchange=exchange, progress=progress))

    with progress_bar("bytes") as progress:
        run_trio(fill)
    report = reports[0]
    click.echo(
        f"{report.bars_added} bars added, {report.bars_revised} revised, {report.bars_known} known already, "
        f"{report.bars_different} different from proven ones and left as they are."
    )
    for path in report.files_without_checksum:
        click.echo(f"no checksum beside {path}: taken as it is", err=True)
