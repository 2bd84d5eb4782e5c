"""``candled backfill``: closed bars of the past, from the exchange's klines and trades."""

from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any

import click

from candled.cli import parts
from candled.cli.progress import progress_bar
from candled.cli.settings_options import config_option, load_daemon_settings
from candled.cli.times import parse_time, tz_option
from candled.cli.trio_runner import run_trio
from candled.domain.interval import MINUTE, ONE_MINUTE
from candled.errors import UserError

if TYPE_CHECKING:
    from candled.backfill import Backfill
    from candled.settings import DaemonSettings


@click.command("backfill")
@click.option("--from", "start", metavar="TIME", default="-1d", show_default=True, help="Earliest open time.")
@click.option("--to", "end", metavar="TIME", default="now", show_default=True, help="Exclusive end of open times.")
@click.option(
    "--source",
    type=click.Choice(["klines", "trades"]),
    default="klines",
    show_default=True,
    help="klines: trades only where those prove nothing. trades: for every bar, with far more requests.",
)
@click.option("--symbols", metavar="A,B,...", help="Symbols to fetch. [env: CANDLED_SYMBOLS]")
@click.option("--data-dir", metavar="DIR", help="Where bars are kept. [env: CANDLED_DATA_DIR]")
@click.option("--rest-urls", metavar="A,B,...", help="Where to ask. [env: CANDLED_REST_URLS]")
@tz_option
@config_option
def command(start: str, end: str, source: str, zone: tzinfo, config: str | None, **options: Any) -> None:
    """Fetch closed 1-minute bars from the exchange and store those that are not stored or not complete.

    Klines are proven by counting trade ids from end to end; minutes where that does not come out are made of
    their trades. No daemon may hold the directory meanwhile. Stopped, it keeps what it has, and goes on when it
    is called again.
    """
    settings = load_daemon_settings(config, options).settings
    since = _minute(parse_time(start, zone, option="--from"))
    until = _minute(parse_time(end, zone, option="--to"))
    if until <= since:
        raise click.BadParameter("nothing lies between --from and --to", param_hint="--to")
    filled: list[Backfill] = []
    try:
        run_trio(_fill, settings, since, until, source == "trades", filled)
    finally:
        for backfill in filled:
            unproven = f", {backfill.unproven} not proven complete" if backfill.unproven else ""
            click.echo(f"{backfill.symbol}: {backfill.stored} bars stored{unproven}.")


async def _fill(
    settings: "DaemonSettings", since: int, until: int, by_trades: bool, filled: "list[Backfill]"
) -> None:
    from candled.backfill import Backfill
    from candled.domain.event import positions_of
    from candled.feed.interface import SourceUnavailableError
    from candled.history import HistorySettings, open_history
    from candled.history.retries import writing_once

    async with parts.open_exchange(settings.rest_urls, settings.rest_weight_per_minute) as rest:
        description = await rest.describe(settings.symbols)
        description.check(settings.symbols)
        async with open_history(
            settings.data_dir, exchange=description.identity, settings=HistorySettings.of(settings)
        ) as history:
            next_position = positions_of(history.epoch)
            try:
                with progress_bar("bars") as progress:
                    for symbol in settings.symbols:
                        done = 0

                        def show(minutes: int, symbol: str = symbol) -> None:
                            nonlocal done
                            done += minutes
                            progress(done, (until - since) // MINUTE, symbol)

                        filled.append(Backfill(rest, history, symbol, next_position, show))
                        await filled[-1].run(since, until, by_trades=by_trades)
            except SourceUnavailableError as error:
                raise UserError(
                    f"The exchange stopped answering ({error}): what was fetched is stored, call it again."
                ) from error
            finally:
                with writing_once(settings.data_dir):
                    await history.publish()
            with writing_once(settings.data_dir):
                while await history.keep():
                    pass


def _minute(moment: datetime) -> int:
    return ONE_MINUTE.floor(int(moment.timestamp()) * 1_000_000)
