"""``candled backfill``: closed bars of the past, from the exchange's klines."""

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
    from candled.settings import DaemonSettings


@click.command("backfill")
@click.option("--from", "start", metavar="TIME", default="-1d", show_default=True, help="Earliest open time.")
@click.option("--to", "end", metavar="TIME", default="now", show_default=True, help="Exclusive end of open times.")
@click.option("--symbols", metavar="A,B,...", help="Symbols to fetch. [env: CANDLED_SYMBOLS]")
@click.option("--data-dir", metavar="DIR", help="Where bars are kept. [env: CANDLED_DATA_DIR]")
@click.option("--rest-urls", metavar="A,B,...", help="Where to ask. [env: CANDLED_REST_URLS]")
@tz_option
@config_option
def command(start: str, end: str, zone: tzinfo, config: str | None, **options: Any) -> None:
    """Fetch closed 1-minute bars from the exchange's klines and store those that are not stored or not complete.

    Each bar is proven by counting trade ids from end to end. No daemon may hold the directory meanwhile. Called
    again it goes on where it was stopped.
    """
    settings = load_daemon_settings(config, options).settings
    since = _minute(parse_time(start, zone, option="--from"))
    until = _minute(parse_time(end, zone, option="--to"))
    if until <= since:
        raise click.BadParameter("nothing lies between --from and --to", param_hint="--to")
    stored: dict[str, int] = {}
    run_trio(_fill, settings, since, until, stored)
    for symbol, bars in stored.items():
        click.echo(f"{symbol}: {bars} bars stored.")


async def _fill(settings: "DaemonSettings", since: int, until: int, stored: dict[str, int]) -> None:
    from candled.backfill import backfill
    from candled.domain.event import positions_of
    from candled.feed.interface import SourceUnavailableError
    from candled.history import HistorySettings, open_history

    async with parts.open_exchange(settings.rest_urls, settings.rest_weight_per_minute) as rest:
        description = await rest.describe(settings.symbols)
        description.check(settings.symbols)
        async with open_history(
            settings.data_dir, exchange=description.identity, settings=HistorySettings.of(settings)
        ) as history:
            next_position = positions_of(history.epoch)
            with progress_bar("bars") as progress:
                for symbol in settings.symbols:
                    done = 0

                    def show(bars: int, symbol: str = symbol) -> None:
                        nonlocal done
                        done += bars
                        progress(done, (until - since) // MINUTE, symbol)

                    try:
                        stored[symbol] = await backfill(
                            rest, history, symbol, since, until, next_position, progress=show
                        )
                    except SourceUnavailableError as error:
                        raise UserError(
                            f"The exchange stopped answering ({error}): what was fetched is stored, call it again."
                        ) from error
            await history.publish()
            while await history.keep():
                pass


def _minute(moment: datetime) -> int:
    return ONE_MINUTE.floor(int(moment.timestamp()) * 1_000_000)
