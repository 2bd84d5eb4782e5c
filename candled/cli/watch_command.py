"""``candled watch``: live candles in the terminal."""

import sys
from datetime import tzinfo

import click

from candled.cli import parts
from candled.cli.address_option import Target, target_option
from candled.cli.interval_option import interval_option
from candled.cli.times import tz_option
from candled.cli.trio_runner import run_trio
from candled.errors import UserError


@click.command("watch")
@click.argument("symbols", nargs=-1, metavar="[SYMBOL]...")
@interval_option
@click.option("--plain", is_flag=True, help="A line for each message instead of a screen; so it is when piped.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["screen", "text", "json"]),
    help="json: a line of JSON for each message. [default: screen on a terminal, else text]",
)
@click.option("--closed-only", is_flag=True, help="Only closed bars and their revisions, in lines.")
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
    """Show live candles of SYMBOL, or of all symbols, as trades arrive.

    The colour of a bar is its direction; `?` marks a closed bar that is not proven complete, `*` one that was
    revised. When the stream is not fresh the screen says so and dims. Keys: left and right for the symbol, `a` for
    all, `+` and `-` for the interval, `q` to quit.
    """
    screen = sys.stdin.isatty() and sys.stdout.isatty() and not plain and not closed_only
    form = form or ("screen" if screen else "text")
    if form == "screen" and not screen:
        raise UserError("A screen needs a terminal and no --plain or --closed-only: leave --format out.")
    if form == "screen":
        run_trio(_watch_screen, symbols, interval, zone, target)
    else:
        run_trio(_watch_lines, symbols, interval, form, closed_only, zone, target)


async def _watch_screen(symbols: tuple[str, ...], interval: str, zone: tzinfo, target: Target) -> None:
    from candled.cli.watch.model import Watch
    from candled.cli.watch.screen import Screen

    names = await _checked_symbols(symbols, target)
    selected = 0 if len(names) == 1 else None
    await Screen(Watch(symbols=names, interval=interval, selected=selected), target, zone).run()


async def _watch_lines(
    symbols: tuple[str, ...], interval: str, form: str, closed_only: bool, zone: tzinfo, target: Target
) -> None:
    from candled.cli.watch.lines import json_line, text_line

    write = json_line if form == "json" else text_line
    await _checked_symbols(symbols, target)
    async with (
        parts.open_client(target) as client,
        client.stream_bars(symbols=symbols, intervals=(interval,), closed_only=closed_only) as messages,
    ):
        async for message in messages:
            click.echo(write(message, zone))


async def _checked_symbols(symbols: tuple[str, ...], target: Target) -> tuple[str, ...]:
    """The symbols asked for, or all; a daemon that is not there and a symbol it does not have are told at once."""
    async with parts.open_client(target) as client:
        served = tuple(symbol.symbol for symbol in await client.symbols())
    for symbol in symbols:
        if symbol not in served:
            raise UserError(
                f"The daemon at {target.address} does not serve {symbol}: it serves {', '.join(served)}."
            )
    return symbols or served
