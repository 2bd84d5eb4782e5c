"""``candled backfill``: fetch closed bars of the past from the exchange's klines and trades."""

from collections import Counter
from datetime import datetime, tzinfo
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import click

from candled.cli import parts
from candled.cli.progress import progress_bar
from candled.cli.settings_options import (
    complete_symbols,
    config_option,
    data_dir_setting,
    exchange_setting,
    load_daemon_settings,
)
from candled.cli.times import parse_time, tz_option
from candled.cli.trio_runner import run_trio
from candled.domain.interval import MINUTE, ONE_MINUTE
from candled.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from candled.backfill.from_exchange import Backfill
    from candled.config.settings import DaemonSettings
    from candled.feed.adapter import TradeSource
    from candled.history import DurableHistory


@click.command("backfill")
@click.option("--from", "start", metavar="TIME", default="-1d", show_default=True, help="First open time.")
@click.option("--to", "end", metavar="TIME", default="now", show_default=True, help="Exclusive end of open times.")
@click.option(
    "--source",
    type=click.Choice(["klines", "trades"]),
    default="klines",
    show_default=True,
    help="klines: fetch trades only where klines prove nothing. trades: fetch all trades, with far more requests.",
)
@click.option(
    "--symbols",
    metavar="A,B,...",
    shell_complete=complete_symbols,
    help="Symbols to fetch. [env: CANDLED_SYMBOLS]",
)
@exchange_setting
@data_dir_setting
@click.option("--rest-urls", metavar="A,B,...", help="REST base URLs of the exchange. [env: CANDLED_REST_URLS]")
@click.option("--proxy", metavar="URL", help="Proxy to the exchange. [env: CANDLED_PROXY]")
@tz_option
@config_option
def command(start: str, end: str, source: str, zone: tzinfo, config: str | None, **options: Any) -> None:
    """Fetch closed 1-minute bars from the exchange and store those that are not stored or not complete.

    Klines are proven by counting trade ids from one end to the other; minutes that this does not prove are built
    from their trades. No daemon may use the directory at the same time. An interrupted backfill keeps what it has
    stored and continues when called again. A symbol that the exchange does not have is left out and named, and the
    exit status is 1 then.
    """
    settings = load_daemon_settings(config, options).settings
    since = _minute(parse_time(start, zone, option="--from"))
    until = _minute(parse_time(end, zone, option="--to"))
    if until <= since:
        raise click.BadParameter("give a time at least a minute after --from", param_hint="--to")
    outcome = _Outcome()
    try:
        run_trio(_fill, settings, since, until, source == "trades", outcome)
    finally:
        for backfill in outcome.filled:
            click.echo(_in_words(backfill))
    if outcome.left_out:
        raise UserError(" ".join(outcome.left_out))


@attrs.define
class _Outcome:
    """What became of each symbol."""

    filled: "list[Backfill]" = attrs.Factory(list)
    left_out: list[str] = attrs.Factory(list)
    """A sentence about each symbol that the exchange does not have, or refuses."""


def _in_words(backfill: "Backfill") -> str:
    text = f"{backfill.symbol}: {backfill.stored} bars stored"
    if backfill.unproven:
        text += f", {backfill.unproven} not proven complete"
    if backfill.awaiting == 1:
        text += "; the last minute awaits a later trade that proves it"
    elif backfill.awaiting:
        text += f"; the last {backfill.awaiting} minutes await a later trade that proves them"
    return f"{text}."


async def _fill(settings: "DaemonSettings", since: int, until: int, by_trades: bool, outcome: _Outcome) -> None:
    from candled.daemon.history_settings import history_settings
    from candled.history import open_history
    from candled.history.retries import writing_once

    async with parts.open_exchange(settings) as rest:
        description = await rest.describe(settings.symbols)
        symbols = [symbol for symbol in settings.symbols if symbol in description.instruments]
        if not symbols:  # before a directory is made for a mistyped symbol
            description.check(settings.symbols)
        if unknown := description.unknown(settings.symbols):
            names = ", ".join(unknown)
            outcome.left_out.append(f"The exchange does not have {names}: only the others were fetched.")
        async with open_history(
            settings.data_dir, exchange=description.identity, settings=history_settings(settings)
        ) as history:
            try:
                await _fill_symbols(symbols, since, until, by_trades, rest, history, outcome)
            finally:
                with writing_once(settings.data_dir):
                    await history.publish()
            with writing_once(settings.data_dir):
                while await history.keep():
                    pass


async def _fill_symbols(
    symbols: "Sequence[str]",
    since: int,
    until: int,
    by_trades: bool,
    source: "TradeSource",
    history: "DurableHistory",
    outcome: _Outcome,
) -> None:
    from candled.backfill.from_exchange import Backfill
    from candled.domain.event import positions_of
    from candled.feed.errors import SourceRefusedError, SourceUnavailableError

    next_position = positions_of(history.epoch)
    done: Counter[str] = Counter()

    def show(symbol: str, minutes: int) -> None:
        done[symbol] += minutes
        progress(done[symbol], (until - since) // MINUTE, symbol)

    try:
        with progress_bar("bars") as progress:
            for symbol in symbols:
                backfill = Backfill(source, history, history, symbol, next_position, partial(show, symbol))
                outcome.filled.append(backfill)
                try:
                    await backfill.run(since, until, by_trades=by_trades)
                except SourceRefusedError as error:  # of this symbol: the others may be answered
                    outcome.left_out.append(f"The exchange refuses {symbol}: {str(error).rstrip('.')}.")
    except SourceUnavailableError as error:
        raise UserError(
            f"The exchange stopped answering ({error}): what was fetched is stored; run the command again."
        ) from error


def _minute(moment: datetime) -> int:
    return ONE_MINUTE.floor(int(moment.timestamp()) * 1_000_000)
