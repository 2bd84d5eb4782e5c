"""``candled run``: the daemon."""

from typing import Any

import click

from candled.cli import parts
from candled.cli.settings_options import load_daemon_settings, settings_options
from candled.cli.trio_runner import run_trio
from candled.logs import configure_logging
from candled.settings import DaemonSettings


@click.command("run")
@settings_options(DaemonSettings)
def command(config: str | None, **options: Any) -> None:
    """Run the daemon until SIGTERM or Ctrl-C.

    It reads trades from the exchange, keeps closed bars in the data directory, and serves the gRPC API and the
    HTTP port. SIGTERM and Ctrl-C end it in order: streams end with a point to resume from, the journal commits,
    exit 0. SIGHUP reads the settings file again: symbols are added and removed while running, and the log names
    other settings that changed, which wait for a restart.
    """

    def read() -> DaemonSettings:
        return load_daemon_settings(config, options).settings

    settings = read()
    logs = configure_logging(settings.log_level, settings.log_format)
    run_trio(parts.run_daemon, settings, logs, read)
