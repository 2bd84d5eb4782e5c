"""``candled restore``: fetch a history from an object store into a data directory."""

from typing import Any

import click

from candled.cli.progress import progress_bar
from candled.cli.settings_options import config_option, data_dir_setting, load_daemon_settings
from candled.errors import UserError


@click.command("restore")
@data_dir_setting
@click.option("--history-url", metavar="URL", help="Object store that has the history. [env: CANDLED_HISTORY_URL]")
@click.option(
    "--history-endpoint",
    metavar="URL",
    help="Address of an S3-compatible server that has it. [env: CANDLED_HISTORY_ENDPOINT]",
)
@config_option
def command(config: str | None, **options: Any) -> None:
    """Fetch the history in an object store into the data directory, as `candled run` does at its start.

    An empty directory becomes a copy of the stored history; one that has bars of the same history gets the files
    that it lacks. Interrupted, it continues where it was. No daemon may use the directory.
    """
    from candled.history.objects.bucket import open_bucket
    from candled.history.objects.restoring import read_history_identity, restore
    from candled.history.objects.writers import newest_writer

    settings = load_daemon_settings(config, options).settings
    if settings.history_url is None:
        raise UserError("No object store is named: give its URL with --history-url.")
    bucket = open_bucket(settings.history_url, settings.history_endpoint)
    if read_history_identity(bucket) is None:
        raise UserError(
            f"There is no history in {bucket.url}: give the URL that `candled run --history-url` writes to."
        )
    with progress_bar("files") as progress:
        restored = restore(settings.data_dir, bucket, epoch=newest_writer(bucket), progress=progress)
    for file in restored.damaged:
        click.echo(f"damaged in the object store, not restored: {file.name}", err=True)
    click.echo(f"{restored.files} files restored to {settings.data_dir}.")
    if restored.damaged:
        raise SystemExit(1)
