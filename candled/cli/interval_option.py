"""The option ``--interval``."""

import click

from candled.domain.interval import INTERVALS

interval_option = click.option(
    "--interval",
    type=click.Choice(list(INTERVALS)),
    default="1m",
    show_default=True,
    metavar="INTERVAL",
    help=f"One of {' '.join(INTERVALS)}.",
)
