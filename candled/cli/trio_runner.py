"""Run the Trio part of a command: ``UserError`` leaves its exception groups, Ctrl-C makes no traceback."""

from collections.abc import Awaitable, Callable
from traceback import clear_frames
from typing import Any

import click

from candled.errors import INTERRUPTED, UserError, sentence


def run_trio(function: Callable[..., Awaitable[Any]], *arguments: object) -> None:
    """Run an async function.

    Raises:
        UserError: the function raised no other kind of error; several are joined into one.
        SystemExit: 130 after Ctrl-C.
    """
    import trio  # not before it is needed: commands that read files run without

    try:
        trio.run(function, *arguments)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except BaseExceptionGroup as group:
        mistakes, others = group.split(UserError)
        if others is None and mistakes is not None:
            raise _joined(mistakes) from None
        _, others = group.split((KeyboardInterrupt, UserError))
        if others is None:
            raise SystemExit(INTERRUPTED) from None
        raise


def end_line(text: str) -> None:
    """Print a line for a person to standard error, beside the command's results."""
    click.echo(text, err=True)


def _joined(group: BaseExceptionGroup[UserError]) -> UserError:
    errors = list(_leaves(group))
    joined = UserError(" ".join(dict.fromkeys(sentence(str(error)) for error in errors)))
    joined.exit_status = max(error.exit_status for error in errors)
    return joined


def _leaves(group: BaseExceptionGroup[UserError]) -> list[UserError]:
    found: list[UserError] = []
    for error in group.exceptions:
        # Its frames refer to databases, and DuckDB complains of those that are open when the interpreter exits.
        clear_frames(error.__traceback__)
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
