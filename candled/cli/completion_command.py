"""``candled completion``: print the completion script of a shell."""

from typing import Final

import click
from click.shell_completion import get_completion_class

_SHELLS: Final = ("bash", "zsh", "fish")
_PROGRAM: Final = "candled"
_VARIABLE: Final = "_CANDLED_COMPLETE"
"""The variable by which the script asks the program; click derives the same name from the program's."""


@click.command("completion")
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the script that completes candled in SHELL: bash (4.4 or later), zsh or fish.

    Tab then completes commands, options and their choices, files, time zones, and the symbols of the settings. No
    daemon is called and no data directory read for it. For example, in bash:

        source <(candled completion bash)
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(context.find_root().command, {}, _PROGRAM, _VARIABLE).source(), nl=False)
