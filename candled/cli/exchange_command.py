"""``candled exchange``: the embedded exchange alone."""

import signal
from typing import Any

import click
import trio

from candled.cli import parts
from candled.cli.settings_options import load_exchange_settings, settings_options
from candled.cli.trio_runner import end_line, run_trio
from candled.exchange import faults
from candled.settings import ExchangeSettings

FAULTS_HELP = "\n\n".join(
    f"\b\n{paragraph.replace('``', '`')}"
    for paragraph in ["How faults are written:", *(faults.__doc__ or "").strip().split("\n\n")[1:]]
)
"""How faults are written, as their module tells it, line by line."""


@click.command("exchange", epilog=FAULTS_HELP)
@settings_options(ExchangeSettings)
def command(config: str | None, **options: Any) -> None:
    """Run the embedded exchange: a made-up market, or a recording, behind Binance's own forms.

    For demos and tests without a network. Point anything that speaks to Binance at it; for candled that is
    `candled run --stream-urls ws://127.0.0.1:9443 --rest-urls http://127.0.0.1:9443`.
    """
    settings = load_exchange_settings(config, options).settings
    run_trio(_serve, settings)


async def _serve(settings: ExchangeSettings) -> None:
    # Asked for by name, because the first process of a container gets no signal that it did not ask for.
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            bound = await nursery.start(parts.serve_exchange, settings)
            end_line(f"exchange: streams at {bound.stream_url}, REST at {bound.rest_url}; Ctrl-C ends it")
            await anext(signals)
            nursery.cancel_scope.cancel()
