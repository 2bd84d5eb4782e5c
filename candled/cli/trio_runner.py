"""Run the Trio part of a command: errors for users come out of their groups, Ctrl-C ends without a traceback."""

from collections.abc import Awaitable, Callable
from traceback import clear_frames
from typing import Any

import click
import trio

from candled.errors import INTERRUPTED, UserError


def run_trio(function: Callable[..., Awaitable[Any]], *arguments: object) -> None:
    """Run an async function to its end.

    Raises:
        UserError: the only kind of error that came out; several are told in one.
        SystemExit: 130 after Ctrl-C.
    """
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
    """Say something to a person, beside a command's results: on standard error."""
    click.echo(text, err=True)


def _joined(group: BaseExceptionGroup[UserError]) -> UserError:
    errors = list(_leaves(group))
    joined = UserError(" ".join(dict.fromkeys(str(error) for error in errors)))
    joined.exit_status = max(error.exit_status for error in errors)
    return joined


def _leaves(group: BaseExceptionGroup[UserError]) -> list[UserError]:
    found: list[UserError] = []
    for error in group.exceptions:
        # Its frames hold databases, and DuckDB complains of those that live when the interpreter ends.
        clear_frames(error.__traceback__)
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
