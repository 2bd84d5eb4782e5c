"""``candled repair``: set damaged files aside, so that the daemon rebuilds their bars."""

from pathlib import Path

import click

from candled.cli.progress import progress_bar
from candled.cli.settings_options import data_dir_option
from candled.cli.stored_history_option import endpoint_of, history_endpoint_option


@click.command("repair")
@data_dir_option
@click.option(
    "--history",
    "history_url",
    metavar="URL",
    help="Set damaged objects of a history in an object store aside instead.",
)
@history_endpoint_option
def command(data_dir: Path, history_url: str | None, history_endpoint: str | None) -> None:
    """Set damaged files of the data directory aside; nothing is deleted. No daemon may use the directory.

    At its next start the daemon rebuilds their bars from its journal and from the exchange. With --history, a
    daemon may be running: it puts whole objects in their place within an hour.
    """
    if history_url is not None:
        _repair_stored(history_url, endpoint_of(history_endpoint))
        return
    from candled.history.verify import set_damaged_aside

    with progress_bar("files") as progress:
        found = set_damaged_aside(data_dir, progress=progress)
    for finding in found:
        click.echo(f"set aside: {finding.path}")
    if found:
        click.echo(f"{len(found)} damaged files set aside: start the daemon to rebuild their bars.")
    else:
        click.echo("No file is damaged.")


def _repair_stored(url: str, endpoint: str | None) -> None:
    from candled.history.objects.bucket import open_bucket
    from candled.history.objects.verifying import set_damaged_objects_aside

    with progress_bar("objects") as progress:
        found = set_damaged_objects_aside(open_bucket(url, endpoint), progress)
    for key in found:
        click.echo(f"set aside: {key}")
    if found:
        click.echo(f"{len(found)} damaged objects set aside: the daemon that writes this history puts them again.")
    else:
        click.echo("No object is damaged.")
