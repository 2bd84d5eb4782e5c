"""Command-line options made from a settings class, so that every setting is defined once."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import attrs
import click
from click.shell_completion import CompletionItem

from candled.cli.shell_completion import (
    Completions,
    ShellComplete,
    complete_directories,
    complete_files,
    complete_words,
)
from candled.config.settings import DaemonSettings, ExchangeSettings, OneOf
from candled.config.shards import parse_shards
from candled.config.sources import (
    DEFAULT_SOURCE,
    Loaded,
    find_file,
    load_settings,
    option_name,
    read_file,
    show_value,
    variable_name,
)
from candled.errors import SettingsError

C = TypeVar("C", bound=Callable[..., Any])

config_option = click.option(
    "--config",
    "config",
    metavar="FILE",
    shell_complete=complete_files,
    help="TOML file of settings. [env: CANDLED_CONFIG; default: ./candled.toml, if it exists]",
)


def settings_options(
    cls: type[attrs.AttrsInstance], *, without: tuple[str, ...] = (), defaults: dict[str, str] | None = None
) -> Callable[[C], C]:
    """Add ``--config`` and an option for each setting of ``cls`` to a command; values are text, or None.

    Args:
        cls: the settings class.
        without: settings that the command sets itself.
        defaults: defaults to show in the help instead of those of the class.
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
                shell_complete=_completion(field, hints[field.name]),
                help=f"{field.metadata['help']} [{origin}]",
            )(command)
        return config_option(command)

    return decorate


def load_daemon_settings(config: str | None, options: dict[str, Any] | None = None) -> Loaded[DaemonSettings]:
    """Load the daemon's settings from options, environment, file and defaults."""
    path, daemon, _ = _file(config)
    loaded = load_settings(
        DaemonSettings, command_line=options or {}, environment=os.environ, file=path, file_values=daemon
    )
    return _of_its_shard(_of_its_exchange(loaded))


def load_exchange_settings(config: str | None, options: dict[str, Any] | None = None) -> Loaded[ExchangeSettings]:
    """Load the embedded exchange's settings from options, environment, file and defaults."""
    path, _, exchange = _file(config)
    loaded = load_settings(
        ExchangeSettings, command_line=options or {}, environment=os.environ, file=path, file_values=exchange
    )
    if loaded.sources["symbols"] != DEFAULT_SOURCE or loaded.sources["form"] == DEFAULT_SOURCE:
        return loaded
    from candled.feed.registry import find_adapter  # not before it is needed: it brings half of the feed

    symbols = find_adapter(loaded.settings.form).defaults.symbols
    return attrs.evolve(loaded, settings=attrs.evolve(loaded.settings, symbols=symbols))


exchange_setting = click.option(
    "--exchange", metavar="NAME", help="Exchange whose bars they are. [env: CANDLED_EXCHANGE; default: binance]"
)
"""For commands that load all settings of a daemon."""

data_dir_setting = click.option(
    "--data-dir",
    metavar="DIR",
    shell_complete=complete_directories,
    help="Directory in which bars are stored. [env: CANDLED_DATA_DIR]",
)
"""For commands that load all settings of a daemon."""


def data_dir_option(command: C) -> C:
    """Add ``--config`` and ``--data-dir`` to a command, which is called with ``data_dir``, a Path."""

    @config_option
    @click.option(
        "--data-dir",
        metavar="DIR",
        shell_complete=complete_directories,
        help="Directory in which bars are stored. [env: CANDLED_DATA_DIR; default: candled-data]",
    )
    @functools.wraps(command)
    def wrapper(*args: Any, config: str | None, data_dir: str | None, **kwargs: Any) -> Any:
        settings = load_daemon_settings(config, {"data_dir": data_dir}).settings
        return command(*args, data_dir=settings.data_dir, **kwargs)

    return wrapper  # type: ignore[return-value]


def complete_symbols(context: click.Context, _parameter: click.Parameter, typed: str) -> Completions:
    """Complete the last symbol of a list by comma, in the case it is typed in.

    The symbols are those of the settings: no daemon is called and no data directory read for a key press.
    """
    try:
        symbols = _named_symbols(context.params.get("config"))
    except SettingsError:
        return []
    before, comma, last = typed.rpartition(",")
    found = [symbol for symbol in symbols if symbol.startswith(last.upper())]
    return [CompletionItem(before + comma + (name.lower() if last.islower() else name)) for name in found]


def _named_symbols(config: str | None) -> tuple[str, ...]:
    """Return the symbols of the settings; none where they would be another exchange's defaults.

    The exchange's adapter knows those, and importing it takes too long for a key press.
    """
    path, daemon, _ = _file(config)
    loaded = load_settings(DaemonSettings, environment=os.environ, file=path, file_values=daemon)
    is_unset = loaded.sources["symbols"] == DEFAULT_SOURCE != loaded.sources["exchange"]
    return () if is_unset else _of_its_shard(loaded).settings.symbols


def _of_its_exchange(loaded: Loaded[DaemonSettings]) -> Loaded[DaemonSettings]:
    """Fill in what the exchange's adapter says for settings that are not set."""
    settings = loaded.settings
    from candled.feed.registry import find_adapter  # not before it is needed: it brings half of the feed

    adapter = find_adapter(settings.exchange)
    streams = adapter.capabilities.streams
    if settings.stream not in streams:
        raise SettingsError(
            f"Setting stream from the {loaded.sources['stream']} must be one of {', '.join(streams)} "
            f"for the exchange {adapter.name}, not {settings.stream!r}."
        )
    unset = {
        name: value
        for name, value in attrs.asdict(adapter.defaults).items()
        if loaded.sources[name] == DEFAULT_SOURCE or not getattr(settings, name)
    }
    sources = dict.fromkeys(unset, f"{DEFAULT_SOURCE} of {adapter.name}")
    return Loaded(attrs.evolve(settings, **unset), {**loaded.sources, **sources})


def _of_its_shard(loaded: Loaded[DaemonSettings]) -> Loaded[DaemonSettings]:
    settings = loaded.settings
    if not settings.shards:
        return loaded
    try:
        settings = attrs.evolve(
            settings,
            symbols=parse_shards(settings.shards).symbols(settings.shard),
            history_url=settings.history_url and settings.history_url.replace("{shard}", str(settings.shard)),
        )
    except ValueError as error:
        raise SettingsError(f"Setting shards from {loaded.sources['shards']} cannot be used: {error}.") from error
    return Loaded(settings, {**loaded.sources, "symbols": f"shards, {loaded.sources['shards']}"})


def _file(config: str | None) -> tuple[Path | None, Any, Any]:
    path = find_file(config, os.environ)
    content = read_file(path)
    return (path, content.daemon, content.exchange) if content else (path, {}, {})


def _completion(field: "attrs.Attribute[Any]", kind: Any) -> ShellComplete | None:
    if field.name == "symbols":
        return complete_symbols
    if isinstance(check := field.metadata["check"], OneOf):
        return complete_words(check.words)
    if kind in (Path, Path | None):
        return complete_directories if field.name.endswith("_dir") else complete_files
    return None


def _metavar(kind: Any) -> str:
    if kind == tuple[str, ...]:
        return "A,B,..."
    return {int: "N", int | None: "N", float: "N", Path: "PATH", Path | None: "PATH"}.get(kind, "TEXT")
