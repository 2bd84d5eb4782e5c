"""Fill a settings class from the command line, the environment, a TOML file and its defaults, in that order.

Where each value came from is remembered, for ``candled config`` and for error texts.
"""

import difflib
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Generic, TypeVar, get_args, get_type_hints

import attrs

from candled.errors import SettingsError

ENVIRONMENT_PREFIX: Final = "CANDLED_"
DEFAULT_FILE: Final = Path("candled.toml")
"""Read when no other file is named and it exists in the working directory."""

DEFAULT_SOURCE: Final = "default"
EXCHANGE_TABLE: Final = "exchange"
"""Table of the file that holds the settings of the embedded exchange; the daemon's stand at the top."""

_WORDS: Final = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}

S = TypeVar("S", bound=attrs.AttrsInstance)


@attrs.frozen
class Loaded(Generic[S]):
    """Settings and, for each by name, where its value came from in words."""

    settings: S
    sources: Mapping[str, str]


@attrs.frozen
class SettingsFile:
    """The content of a TOML file of settings."""

    path: Path
    daemon: Mapping[str, object]
    exchange: Mapping[str, object]


def find_file(named: str | None, environment: Mapping[str, str]) -> Path | None:
    """The file to read: the one named, else ``CANDLED_CONFIG``, else ``candled.toml`` if it is here."""
    if chosen := named or environment.get(f"{ENVIRONMENT_PREFIX}CONFIG"):
        return Path(chosen)
    return DEFAULT_FILE if DEFAULT_FILE.is_file() else None


def read_file(path: Path | None) -> SettingsFile | None:
    """Read a settings file; no path gives None.

    Raises:
        SettingsError: it cannot be read, or is not TOML.
    """
    if path is None:
        return None
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"The settings file {path} cannot be read: {error.strerror}; name another with --config."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"The settings file {path} is not valid TOML: {error}.") from error
    exchange = content.pop(EXCHANGE_TABLE, {})
    if not isinstance(exchange, dict):
        raise SettingsError(f"{EXCHANGE_TABLE} in {path} must be a table: write [{EXCHANGE_TABLE}].")
    return SettingsFile(path, content, exchange)


def load_settings(
    cls: type[S],
    *,
    command_line: Mapping[str, object] = {},
    environment: Mapping[str, str] = {},
    file: Path | None = None,
    file_values: Mapping[str, object] = {},
) -> Loaded[S]:
    """Make settings of ``cls``; the first source that has a value wins.

    Variables of unknown names are left alone: Kubernetes sets ``CANDLED_PORT`` and the like for a service of that
    name. An empty variable counts as not set.

    Arguments:
        cls: an attrs class made of ``settings.setting`` fields.
        command_line: by setting name; None means not given.
        environment: all variables; those that begin with ``CANDLED_`` count.
        file: name of the settings file, for messages.
        file_values: by setting name, as TOML gave them.

    Raises:
        SettingsError: an unknown key in the file, or a value that is not allowed.
    """
    hints = get_type_hints(cls)
    fields = {field.name: field for field in attrs.fields(cls)}
    for key in file_values:
        if key not in fields:
            raise SettingsError(f"Unknown setting {key!r} in {file}: {_suggestion(key, fields)}")
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, field in fields.items():
        sources[name] = DEFAULT_SOURCE
        for source, given in _given(name, command_line, environment, file, file_values):
            values[name] = _checked(name, given, source, hints[name], field.metadata.get("check"))
            sources[name] = source
            break
    return Loaded(cls(**values), sources)


def option_name(name: str) -> str:
    """The command-line option of a setting."""
    return "--" + name.replace("_", "-")


def variable_name(name: str) -> str:
    """The environment variable of a setting."""
    return ENVIRONMENT_PREFIX + name.upper()


def show_value(value: object) -> str:
    """A value as it would be written on the command line."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case tuple():
            return ",".join(map(str, value))
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def _given(
    name: str,
    command_line: Mapping[str, object],
    environment: Mapping[str, str],
    file: Path | None,
    file_values: Mapping[str, object],
) -> Iterator[tuple[str, object]]:
    if command_line.get(name) is not None:
        yield f"command line ({option_name(name)})", command_line[name]
    if environment.get(variable_name(name)):
        yield f"environment ({variable_name(name)})", environment[variable_name(name)]
    if name in file_values:
        yield f"file ({file})", file_values[name]


def _suggestion(key: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(key.replace("-", "_"), known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"the settings are {', '.join(known)}."


def _checked(name: str, given: object, source: str, kind: Any, check: Callable[[Any], str | None] | None) -> Any:
    try:
        value = _convert(given, kind)
    except (ValueError, TypeError):
        raise SettingsError(f"{name} from the {source} must be {_kind_in_words(kind)}, not {given!r}.") from None
    if check is not None and (complaint := check(value)) is not None:
        raise SettingsError(f"{name} from the {source} {complaint}, not {show_value(value)!r}.")
    return value


def _convert(given: object, kind: Any) -> Any:
    """A value of ``kind`` from text (command line, environment) or from what TOML gave."""
    if type(None) in get_args(kind):
        kind = next(part for part in get_args(kind) if part is not type(None))
        if given == "":
            return None
    if kind == tuple[str, ...]:
        parts = given.split(",") if isinstance(given, str) else given
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            raise TypeError
        return tuple(part.strip() for part in parts if part.strip())
    if kind is bool:
        if isinstance(given, bool):
            return given
        if (word := str(given).lower()) not in _WORDS:
            raise ValueError
        return _WORDS[word]
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        raise TypeError
    if kind in (str, Path):
        if not isinstance(given, str):
            raise TypeError
        return kind(given)
    if kind is int:
        if isinstance(given, float):
            raise TypeError
        return int(given)
    number = float(given)
    if not math.isfinite(number):
        raise ValueError
    return number


def _kind_in_words(kind: Any) -> str:
    if kind == tuple[str, ...]:
        return "a list (by comma on the command line and in the environment, an array of strings in the file)"
    return {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "text")
