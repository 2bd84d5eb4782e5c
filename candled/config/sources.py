"""Load a settings class from the command line, the environment, a TOML file and its defaults, in that order.

The source of each value is recorded for ``candled config`` and for error texts.
"""

import difflib
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Generic, TypeVar, get_args, get_type_hints

import attrs

from candled.errors import SettingsError

ENVIRONMENT_PREFIX: Final = "CANDLED_"
DEFAULT_FILE: Final = Path("candled.toml")
"""Read when no other file is named and it exists in the working directory."""

DEFAULT_SOURCE: Final = "default"
EMBEDDED_TABLE: Final = "embedded_exchange"
"""Table of the file that holds the settings of the embedded exchange; the daemon's stand at the top."""
EXCHANGE_TABLE: Final = "exchange"
"""The same, in files that do not name the daemon's ``exchange``."""

_BOOLEANS: Final = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}

_SEPARATORS: Final = re.compile(r"[,\s]+")
_OF_KUBERNETES: Final = re.compile(
    r"CANDLED_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT\w*|PORT(?:_\d+_\w+)?)", re.ASCII
)
"""Variables that Kubernetes sets for a service whose name begins with ``candled``."""
_OF_DEVELOPMENT: Final = ("CANDLED_TEST_", "CANDLED_OPS_", "CANDLED_EXAMPLES_")
_NO_SETTINGS: Final = ("CONFIG", "TOKEN_FILE", "CACHE_DIR", "CACHE_BYTES")
"""Variables that options of commands read."""

S = TypeVar("S", bound=attrs.AttrsInstance)


@attrs.frozen
class Loaded(Generic[S]):
    """Settings, and the source of each value in words, by the setting's name."""

    settings: S
    sources: Mapping[str, str]


@attrs.frozen
class SettingsFile:
    """The content of a TOML file of settings."""

    path: Path
    daemon: Mapping[str, object]
    exchange: Mapping[str, object]


def find_file(named: str | None, environment: Mapping[str, str]) -> Path | None:
    """Return the file to read: the named one, else ``CANDLED_CONFIG``, else ``candled.toml`` if it exists."""
    if chosen := named or environment.get(f"{ENVIRONMENT_PREFIX}CONFIG"):
        return Path(chosen)
    return DEFAULT_FILE if DEFAULT_FILE.is_file() else None


def read_file(path: Path | None) -> SettingsFile | None:
    """Read a settings file; None without a path.

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
        raise SettingsError(
            f"The settings file {path} is not valid TOML: {error}; correct it, or name another with --config."
        ) from error
    exchange = content.pop(EMBEDDED_TABLE, None)
    if exchange is None:  # a file that names the exchange of the daemon cannot have a table of this name too
        exchange = content.pop(EXCHANGE_TABLE, {}) if isinstance(content.get(EXCHANGE_TABLE), dict) else {}
    if not isinstance(exchange, dict):
        raise SettingsError(f"Setting {EMBEDDED_TABLE} in {path} must be a table: write [{EMBEDDED_TABLE}].")
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

    Unknown variables are ignored here; ``unknown_variables`` names them. An empty variable counts as not set.

    Args:
        cls: an attrs class made of ``settings.setting`` fields.
        command_line: by setting name; None means not given.
        environment: all variables; those that begin with ``CANDLED_`` are read.
        file: name of the settings file, for messages.
        file_values: by setting name, as parsed from TOML.

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
            values[name] = _checked(name, given, source, hints[name], field.metadata)
            sources[name] = source
            break
    return Loaded(cls(**values), sources)


def unknown_variables(environment: Mapping[str, str], *classes: type[attrs.AttrsInstance]) -> list[str]:
    """Return a sentence for each ``CANDLED_*`` variable that no setting of ``classes`` has, with the nearest name.

    Variables that Kubernetes sets for a service named candled, and those of the project's own tests, are skipped.
    """
    known = {variable_name(field.name) for cls in classes for field in attrs.fields(cls)}
    known |= {ENVIRONMENT_PREFIX + name for name in _NO_SETTINGS}
    sentences = []
    for name in sorted(environment):
        if not name.startswith(ENVIRONMENT_PREFIX) or name in known or not environment[name]:
            continue
        if name.startswith(_OF_DEVELOPMENT) or _OF_KUBERNETES.fullmatch(name):
            continue
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "`candled config` lists the settings."
        sentences.append(f"The variable {name} is no setting and has no effect: {hint}")
    return sentences


def option_name(name: str) -> str:
    """Return the command-line option of a setting."""
    return "--" + name.replace("_", "-")


def variable_name(name: str) -> str:
    """Return the environment variable of a setting."""
    return ENVIRONMENT_PREFIX + name.upper()


def show_value(value: object) -> str:
    """Format a value as it would be written on the command line."""
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
    return f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(known)}."


def _checked(name: str, given: object, source: str, kind: Any, metadata: Mapping[Any, Any]) -> Any:
    check, is_secret = metadata.get("check"), metadata.get("shown") is not None
    try:
        value = _convert(given, kind)
    except (ValueError, TypeError):
        raise SettingsError(
            f"Setting {name} from the {source} must be {_kind_in_words(kind)}"
            + ("." if is_secret else f", not {given!r}.")
        ) from None
    if (normalize := metadata.get("normalize")) is not None:
        value = normalize(value)
    if check is not None and (complaint := check(value)) is not None:
        shown = "" if is_secret else f", not {show_value(value)!r}"
        raise SettingsError(f"Setting {name} from the {source} {complaint}{shown}.")
    return value


def _convert(given: object, kind: Any) -> Any:
    """Convert text (command line, environment) or a TOML value to ``kind``."""
    if type(None) in get_args(kind):
        kind = next(part for part in get_args(kind) if part is not type(None))
        if given == "":
            return None
    if kind == tuple[str, ...]:
        parts = _SEPARATORS.split(given) if isinstance(given, str) else given
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            raise TypeError
        return tuple(part.strip() for part in parts if part.strip())
    if kind is bool:
        if isinstance(given, bool):
            return given
        if (word := str(given).lower()) not in _BOOLEANS:
            raise ValueError
        return _BOOLEANS[word]
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
        return "a list (by comma or space in options and variables, an array of strings in the file)"
    return {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "text")
