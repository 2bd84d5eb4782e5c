"""The ``candled`` command. Each command lives in a module of its own, imported only when it is used."""

import difflib
import importlib
import os
import signal
from types import FrameType
from typing import Final

import click

from candled.errors import INTERRUPTED, UserError

COMMANDS: Final = {
    "run": "Run the daemon.",
    "demo": "Run the daemon on the embedded exchange, without a network.",
    "exchange": "Run the embedded exchange alone.",
    "watch": "Show live candles in the terminal.",
    "bars": "Print closed bars of one symbol.",
    "sql": "Query the history with SQL.",
    "status": "Show how a daemon and its symbols fare.",
    "import": "Import bars from the exchange's archive files.",
    "verify": "Check that the stored bars are whole and proven.",
    "repair": "Set damaged files aside, to be made again.",
    "doctor": "Check what would keep a daemon from working.",
    "backfill": "Fetch closed bars of the past from the exchange.",
    "config": "Show the effective settings and where each came from.",
}
"""Every command and its one line in the help: here, so that ``candled --help`` imports none of them."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table, which is the order of a newcomer's steps."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of the command; each has it under the name ``command``."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"candled.cli.{cmd_name}_command").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was asked for; one that is not there is answered with the nearest."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if near := difflib.get_close_matches(args[0], COMMANDS, n=1):
                raise click.UsageError(f"{error.message} Did you mean {near[0]!r}?", ctx) from None
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; a user's mistake becomes one sentence and an exit status, Ctrl-C a status alone."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            click.echo(f"candled: {error}", err=True)
            ctx.exit(error.exit_status)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="candled", message="candled %(version)s")
def main() -> None:
    """Exact candles from an exchange's trades: proven complete, streamed on every trade, kept for good.

    Try `candled demo`, then `candled watch` in another terminal.
    """
    if os.getpid() == 1:
        # In a container: the system drops signals that its first process has not asked for.
        signal.signal(signal.SIGTERM, _end)


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
