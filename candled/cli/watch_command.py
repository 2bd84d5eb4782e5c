"""``candled watch``: show live candles in the terminal."""

import os
import sys
from datetime import tzinfo

import click

from candled.cli import parts
from candled.cli.address_option import Target, target_option
from candled.cli.interval_option import interval_option
from candled.cli.settings_options import complete_symbols
from candled.cli.symbols import split_symbols
from candled.cli.times import tz_option
from candled.cli.trio_runner import run_trio
from candled.errors import UserError


@click.command("watch")
@click.argument("symbols", nargs=-1, metavar="[SYMBOL]...", shell_complete=complete_symbols)
@interval_option
@click.option(
    "--plain", is_flag=True, help="Print a line for each message instead of a screen; the default when piped."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["screen", "text", "json"]),
    help="json: print a line of JSON for each message. [default: screen on a terminal, else text]",
)
@click.option("--closed-only", is_flag=True, help="Print only closed bars and their revisions, a line for each.")
@tz_option
@target_option
def command(
    symbols: tuple[str, ...],
    interval: str,
    plain: bool,
    form: str | None,
    closed_only: bool,
    zone: tzinfo,
    target: Target,
) -> None:
    """Show live candles of each SYMBOL, or of all symbols, as trades arrive; lower case is accepted.

    The colour of a bar is its direction; `?` marks a closed bar that is not complete, `*` a revised one. When the
    stream is not fresh, the screen says so and is dimmed. Several symbols begin as a list, a row each: last price,
    and change, high, low and volume of 24 hours. Keys: Enter for the chart of a row, `l` for the list, `a` for all
    charts, left and right for the symbol, `+` and `-` for the interval, `i` for averages (SMA, EMA, VWAP), `?` for
    all keys, `q` to quit. A click opens a row's chart; hold Shift to select text, or press `m`.
    """
    on_terminal = sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    screen = on_terminal and not plain and not closed_only
    form = form or ("screen" if screen else "text")
    if form == "screen" and not screen:
        raise UserError(
            "The screen needs a terminal that can draw, and works without --plain and --closed-only: "
            "leave --format out."
        )
    symbols = split_symbols(symbols)
    if form == "screen":
        run_trio(_watch_screen, symbols, interval, zone, target)
    else:
        run_trio(_watch_lines, symbols, interval, form, closed_only, zone, target)


async def _watch_screen(symbols: tuple[str, ...], interval: str, zone: tzinfo, target: Target) -> None:
    from candled.cli.watch.model import Watch
    from candled.cli.watch.screen import Screen

    names = await _checked_symbols(symbols, target)
    watch = Watch(symbols=names, interval=interval)
    if len(names) == 1:
        watch.select(0)
    else:
        watch.list_symbols()
    await Screen(watch, target, zone).run()


async def _watch_lines(
    symbols: tuple[str, ...], interval: str, form: str, closed_only: bool, zone: tzinfo, target: Target
) -> None:
    from candled.cli.watch.lines import json_line, text_line

    write = json_line if form == "json" else text_line
    await _checked_symbols(symbols, target)
    async with (
        parts.open_client(target) as client,
        client.stream_bars(
            symbols=symbols, intervals=(interval,), closed_only=closed_only, heartbeats=True
        ) as messages,
    ):
        async for message in messages:
            click.echo(write(message, zone))


async def _checked_symbols(symbols: tuple[str, ...], target: Target) -> tuple[str, ...]:
    """Return the given symbols, or all that are served.

    Raises:
        UserError: the daemon does not answer, or does not serve one of them. The text is then its own refusal,
            which names the shard that serves the symbol.
    """
    async with parts.open_client(target) as client:
        served = tuple(symbol.symbol for symbol in await client.symbols())
        if not set(symbols) <= set(served):
            async with client.stream_bars(symbols=symbols, reconnect=False) as messages:
                await anext(messages)
    return symbols or served
