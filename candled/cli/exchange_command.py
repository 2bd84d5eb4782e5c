"""``candled exchange``: run the embedded exchange alone."""

import signal
from typing import Any

import click
import trio

from candled.cli import parts
from candled.cli.settings_options import load_exchange_settings, settings_options
from candled.cli.trio_runner import end_line, run_trio
from candled.config.settings import ExchangeSettings
from candled.embedded_exchange import faults

FAULTS_HELP = "\n\n".join(
    f"\b\n{paragraph}" for paragraph in ["How faults are written:", *faults.HELP.split("\n\n")]
)
"""The syntax of faults, from the table of them."""


@click.command("exchange", epilog=FAULTS_HELP)
@settings_options(ExchangeSettings)
def command(config: str | None, **options: Any) -> None:
    """Run the embedded exchange: a synthetic market or a recording, with Binance's API.

    For demos and tests without a network. Any Binance client can connect to it; for candled:
    `candled run --stream-urls ws://127.0.0.1:9443 --rest-urls http://127.0.0.1:9443`.
    """
    settings = load_exchange_settings(config, options).settings
    run_trio(_serve, settings)


async def _serve(settings: ExchangeSettings) -> None:
    # Registered explicitly: the first process of a container gets no signal without a handler.
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            bound = await nursery.start(parts.serve_exchange, settings)
            end_line(f"exchange: streams at {bound.stream_url}, REST at {bound.rest_url}; Ctrl-C stops it")
            await anext(signals)
            nursery.cancel_scope.cancel()
