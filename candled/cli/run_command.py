"""``candled run``: run the daemon."""

from typing import Any

import click

from candled.cli import parts
from candled.cli.settings_options import load_daemon_settings, settings_options
from candled.cli.trio_runner import run_trio
from candled.config.settings import DaemonSettings
from candled.telemetry.logging import configure_logging


@click.command("run")
@settings_options(DaemonSettings)
def command(config: str | None, **options: Any) -> None:
    """Run the daemon until SIGTERM or Ctrl-C.

    It reads trades from the exchange, stores closed bars in the data directory, and serves the gRPC API and the
    HTTP port. SIGTERM and Ctrl-C stop it in order: streams end with a point to resume from, the journal commits,
    exit status 0. SIGHUP reloads the settings file: symbols are added and removed while running, and the log
    names other changed settings, which take effect at the next start.
    """

    def read() -> DaemonSettings:
        return load_daemon_settings(config, options).settings

    settings = read()
    logs = configure_logging(settings.log_level, settings.log_format)
    run_trio(parts.run_daemon, settings, logs, read)
