"""Man pages of the commands, from the same definitions as ``--help``: ``python -m docs.manual DIRECTORY``.

``candled.1`` lists the commands, ``candled-NAME.1`` describes each. ``make man`` writes them to dist/man.
"""

import re
import sys
from collections.abc import Iterator
from importlib.metadata import version
from inspect import cleandoc
from pathlib import Path
from typing import Final

import click

from candled.cli.main import COMMANDS, main

PROGRAM: Final = "candled"

_STATUSES: Final = (
    ("0", "Done."),
    ("1", "It failed, and one sentence on standard error says why and what to change; or as described above."),
    ("2", "The command line, a variable or the settings file has a mistake; nothing was done."),
    ("130", "Ctrl-C ended it."),
)
_VARIABLES: Final = (
    "Every setting is also a variable, CANDLED_ and its name in upper case: CANDLED_DATA_DIR, "
    "CANDLED_GRPC_ADDRESS. An option wins over its variable, a variable over the settings file. "
    "`candled config` shows the values in force and the source of each."
)
_FILES: Final = (
    ("candled.toml", "Settings, in the working directory; --config or CANDLED_CONFIG names another file."),
    ("candled-data/", "The bars of a daemon; --data-dir names another directory."),
)


def pages() -> dict[str, str]:
    """Return every page in roff, by its file name."""
    context = click.Context(main, info_name=PROGRAM, **main.context_settings)
    found = {f"{PROGRAM}.1": _page(main, context, COMMANDS, "exact candles from an exchange's trades")}
    for name, summary in COMMANDS.items():
        command = main.get_command(context, name)
        assert command is not None
        inner = click.Context(command, context, info_name=name)
        found[f"{PROGRAM}-{name}.1"] = _page(command, inner, {}, summary.rstrip("."))
    return found


def _page(command: click.Command, context: click.Context, commands: dict[str, str], summary: str) -> str:
    path = context.command_path
    name = path.replace(" ", "-")
    lines = [
        f'.TH "{name.upper()}" 1 "" "{PROGRAM} {version(PROGRAM)}" "Manual of {PROGRAM}"',
        ".nh",  # a name that is divided cannot be searched for
        *_section("NAME", f"{_escape(name)} \\- {_escape(summary)}"),
        *_section("SYNOPSIS", f".B {_escape(path)}", _escape(" ".join(command.collect_usage_pieces(context)))),
        *_section("DESCRIPTION", *_paragraphs(cleandoc(command.help or ""))),
    ]
    if commands:
        entries = ((f"{PROGRAM}-{name}(1)", text) for name, text in commands.items())
        lines += _section("COMMANDS", *_terms(entries))
    lines += _section("OPTIONS", *_terms(_options(command, context)))
    if command.epilog:
        lines += _section("NOTES", *_paragraphs(command.epilog))
    lines += _section("EXIT STATUS", *_terms(iter(_STATUSES)))
    lines += _section("ENVIRONMENT", *_paragraphs(_VARIABLES))
    lines += _section("FILES", *_terms(iter(_FILES)))
    lines += _section("SEE ALSO", *_see_also(name))
    return "\n".join([*lines, ""])


def _section(title: str, *lines: str) -> list[str]:
    return [f".SH {title}", *lines]


def _terms(entries: Iterator[tuple[str, str]]) -> Iterator[str]:
    for term, text in entries:
        yield from (".TP", f"\\fB{_escape(term)}\\fP", _inline(" ".join(text.split())))


def _options(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option) and (record := parameter.get_help_record(context)) is not None:
            yield record


def _paragraphs(text: str) -> Iterator[str]:
    """Set the paragraphs of a help text: indented ones, and those after click's backspace, keep their lines."""
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text.strip("\n"))):
        if number:
            yield ".PP"
        if paragraph.startswith(("\b", "    ")):
            kept = (_escape(line.rstrip()) for line in paragraph.removeprefix("\b\n").split("\n"))
            yield from (".EX", *kept, ".EE")
        else:
            yield _inline(" ".join(paragraph.split()))


def _see_also(name: str) -> Iterator[str]:
    others = [other for other in (PROGRAM, *(f"{PROGRAM}-{command}" for command in COMMANDS)) if other != name]
    for other in others:
        yield f".BR {_escape(other)} (1){'' if other == others[-1] else ','}"


def _inline(text: str) -> str:
    """Escape a paragraph; what stands between backticks is bold."""
    parts = re.split(r"`([^`]*)`", text)
    return "".join(f"\\fB{_escape(part)}\\fP" if odd % 2 else _escape(part) for odd, part in enumerate(parts))


def _escape(text: str) -> str:
    """Escape what roff would read as its own: backslashes, minus signs, a control character at a line's begin."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def write(target: Path) -> None:
    """Write every page to a directory, which is made if it is missing."""
    target.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (target / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
