"""``candled repair``: set damaged files aside, so that the daemon makes their bars again."""

from pathlib import Path

import click

from candled.cli.progress import progress_bar
from candled.cli.settings_options import data_dir_option


@click.command("repair")
@data_dir_option
def command(data_dir: Path) -> None:
    """Set damaged files of the data directory aside; nothing is deleted. No daemon may hold the directory.

    The next start of the daemon makes their bars again from what there is, and fetches the rest.
    """
    from candled.history.verify import set_damaged_aside

    with progress_bar("files") as progress:
        found = set_damaged_aside(data_dir, progress=progress)
    for finding in found:
        click.echo(f"set aside: {finding.path}")
    if found:
        click.echo(f"{len(found)} damaged files set aside: start the daemon to make their bars again.")
    else:
        click.echo("No file is damaged.")
