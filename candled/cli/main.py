"""The ``candled`` command. Each subcommand is a module of its own, imported only when it is used."""

import difflib
import importlib
import io
import os
import signal
import sys
from types import FrameType
from typing import Final

import click
from click.shell_completion import CompletionItem

from candled.errors import INTERRUPTED, UserError, sentence

COMMANDS: Final = {
    "run": "Run the daemon.",
    "demo": "Run the daemon on the embedded exchange, without a network.",
    "exchange": "Run the embedded exchange alone.",
    "watch": "Show live candles in the terminal.",
    "bars": "Print closed bars of one symbol.",
    "sql": "Query the history with SQL.",
    "status": "Show the state of a daemon and its symbols.",
    "import": "Import bars from the exchange's archive files.",
    "verify": "Check that stored bars are undamaged, without holes, and complete.",
    "restore": "Fetch the history from an object store.",
    "repair": "Set damaged files aside; the daemon rebuilds their bars.",
    "doctor": "Check what would keep a daemon from working.",
    "backfill": "Fetch past bars from the exchange.",
    "config": "Show the effective settings and their sources.",
    "completion": "Print the completion script of a shell.",
}
"""Every command with its line of the help: ``candled --help`` imports none of them."""


class LazyGroup(click.Group):
    """A group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table, the order in which a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command and return its ``command``."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"candled.cli.{cmd_name}_command").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; the error for an unknown one suggests the nearest name."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if near := difflib.get_close_matches(args[0], COMMANDS, n=1):
                raise click.UsageError(f"{error.message} Did you mean {near[0]!r}?", ctx) from None
            raise

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Complete names from the table, without importing the commands; and the options of ``candled`` itself."""
        names = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; a ``UserError`` becomes one sentence and an exit status, Ctrl-C an exit status."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            click.echo(f"candled: {sentence(str(error))}", err=True)
            ctx.exit(error.exit_status)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="candled", message="candled %(version)s")
def main() -> None:
    """Exact candles from an exchange's trades: proven complete, streamed on every trade, stored durably.

    Try `candled demo`, then `candled watch` in another terminal.
    """
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets its code, not a traceback.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if any(name.startswith("CANDLED_") for name in os.environ):
        from candled.config.settings import DaemonSettings, ExchangeSettings
        from candled.config.sources import unknown_variables

        for sentence in unknown_variables(os.environ, DaemonSettings, ExchangeSettings):
            click.echo(f"candled: {sentence}", err=True)
    if os.getpid() == 1:
        # In a container: the kernel drops signals for which the first process has no handler.
        signal.signal(signal.SIGTERM, _end)


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
