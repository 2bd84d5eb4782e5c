"""``candled config``: show the effective settings and their sources."""

import json
from typing import Any

import attrs
import click

from candled.cli.settings_options import load_daemon_settings, settings_options
from candled.config.settings import DaemonSettings

_COLUMN = 64


@click.command("config")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@settings_options(DaemonSettings)
def command(form: str, config: str | None, **options: Any) -> None:
    """Show the effective settings and the source of each, as a settings file. Passwords are left out.

    Sources by precedence: the command line, CANDLED_* environment variables, the TOML file, the defaults.
    """
    loaded = load_daemon_settings(config, options)
    values = attrs.asdict(loaded.settings)
    for field in attrs.fields(DaemonSettings):
        if (shown := field.metadata["shown"]) is not None:
            values[field.name] = shown(values[field.name])
    if form == "json":
        document = {
            name: {
                "value": _plain(value),
                "source": loaded.sources[name],
            }
            for name, value in values.items()
        }
        click.echo(json.dumps(document, indent=2))
        return
    lines = {name: f"{name} = {_toml(value)}" for name, value in values.items()}
    width = max(len(line) for line in lines.values() if len(line) <= _COLUMN)
    for name, line in lines.items():
        click.echo(f"{line:<{width}}  # {loaded.sources[name]}")


def _toml(value: object) -> str:
    return json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: object) -> object:
    """Convert a value for JSON and TOML; None is an empty text, as it is read back."""
    if isinstance(value, tuple | int | float):
        return value
    return "" if value is None else str(value)
