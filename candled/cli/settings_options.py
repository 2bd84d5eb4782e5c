"""Command-line options made from a settings class, so that every setting is defined once."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import attrs
import click

from candled.domain.shards import parse_shards
from candled.errors import SettingsError
from candled.settings import DaemonSettings, ExchangeSettings
from candled.settings_sources import (
    Loaded,
    find_file,
    load_settings,
    option_name,
    read_file,
    show_value,
    variable_name,
)

C = TypeVar("C", bound=Callable[..., Any])

config_option = click.option(
    "--config",
    "config",
    metavar="FILE",
    help="TOML file of settings. [env: CANDLED_CONFIG; default: candled.toml if it is here]",
)


def settings_options(
    cls: type[attrs.AttrsInstance], *, without: tuple[str, ...] = (), defaults: dict[str, str] | None = None
) -> Callable[[C], C]:
    """Give a command ``--config`` and an option for each setting of ``cls``; values arrive as text, or None.

    Arguments:
        cls: the settings class.
        without: settings that this command decides itself.
        defaults: what help shows instead of the class's default.
    """
    hints = get_type_hints(cls)

    def decorate(command: C) -> C:
        for field in reversed(attrs.fields(cls)):
            if field.name in without:
                continue
            shown = (defaults or {}).get(field.name, show_value(field.default))
            origin = f"env: {variable_name(field.name)}" + (f"; default: {shown}" if shown else "")
            option = option_name(field.name)
            declaration = f"{option}/{option.replace('--', '--no-', 1)}" if hints[field.name] is bool else option
            command = click.option(
                declaration,
                field.name,
                default=None,
                metavar=None if hints[field.name] is bool else _metavar(hints[field.name]),
                help=f"{field.metadata['help']} [{origin}]",
            )(command)
        return config_option(command)

    return decorate


def load_daemon_settings(config: str | None, options: dict[str, Any] | None = None) -> Loaded[DaemonSettings]:
    """The daemon's settings as this process was told them."""
    path, daemon, _ = _file(config)
    loaded = load_settings(
        DaemonSettings, command_line=options or {}, environment=os.environ, file=path, file_values=daemon
    )
    return _of_its_shard(loaded)


def load_exchange_settings(config: str | None, options: dict[str, Any] | None = None) -> Loaded[ExchangeSettings]:
    """The embedded exchange's settings as this process was told them."""
    path, _, exchange = _file(config)
    return load_settings(
        ExchangeSettings, command_line=options or {}, environment=os.environ, file=path, file_values=exchange
    )


def data_dir_option(command: C) -> C:
    """Give a command that reads files ``--config`` and ``--data-dir``; it is called with ``data_dir``, a Path."""

    @config_option
    @click.option(
        "--data-dir",
        metavar="DIR",
        help="Where bars are kept. [env: CANDLED_DATA_DIR; default: candled-data]",
    )
    @functools.wraps(command)
    def wrapper(*args: Any, config: str | None, data_dir: str | None, **kwargs: Any) -> Any:
        settings = load_daemon_settings(config, {"data_dir": data_dir}).settings
        return command(*args, data_dir=settings.data_dir, **kwargs)

    return wrapper  # type: ignore[return-value]


def _of_its_shard(loaded: Loaded[DaemonSettings]) -> Loaded[DaemonSettings]:
    settings = loaded.settings
    if not settings.shards:
        return loaded
    try:
        settings = attrs.evolve(settings, symbols=parse_shards(settings.shards).symbols(settings.shard))
    except ValueError as error:
        raise SettingsError(f"shards from {loaded.sources['shards']} cannot be used: {error}.") from error
    return Loaded(settings, {**loaded.sources, "symbols": f"shards, {loaded.sources['shards']}"})


def _file(config: str | None) -> tuple[Path | None, Any, Any]:
    path = find_file(config, os.environ)
    content = read_file(path)
    return (path, content.daemon, content.exchange) if content else (path, {}, {})


def _metavar(kind: Any) -> str:
    if kind == tuple[str, ...]:
        return "A,B,..."
    return {int: "N", float: "N", Path: "PATH", Path | None: "PATH"}.get(kind, "TEXT")
