"""``candled config``: the effective settings and where each came from."""

import json
from typing import Any

import attrs
import click

from candled.cli.settings_options import load_daemon_settings, settings_options
from candled.settings import DaemonSettings

_COLUMN = 64


@click.command("config")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@settings_options(DaemonSettings)
def command(form: str, config: str | None, **options: Any) -> None:
    """Show the effective settings and where each came from, in the form of a settings file.

    A setting is taken from the command line, else from its CANDLED_* variable, else from the TOML file, else from
    the defaults.
    """
    loaded = load_daemon_settings(config, options)
    values = attrs.asdict(loaded.settings)
    if form == "json":
        document = {
            name: {
                "value": value if value is None or isinstance(value, tuple | int | float) else str(value),
                "source": loaded.sources[name],
            }
            for name, value in values.items()
        }
        click.echo(json.dumps(document, indent=2))
        return
    lines = {
        name: f"# {name} is not set" if value is None else f"{name} = {_toml(value)}"
        for name, value in values.items()
    }
    width = max(len(line) for line in lines.values() if len(line) <= _COLUMN)
    for name, line in lines.items():
        click.echo(f"{line:<{width}}  # {loaded.sources[name]}")


def _toml(value: object) -> str:
    return json.dumps(value if isinstance(value, tuple | int | float) else str(value), ensure_ascii=False)
