"""Where the daemon is that a client command speaks to."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from candled.cli.settings_options import config_option, load_daemon_settings

C = TypeVar("C", bound=Callable[..., Any])


def address_option(command: C) -> C:
    """Give a command ``--config`` and ``--address``; it is called with ``address``, ``host:port``.

    Without the option it is where a daemon with the same settings would listen.
    """

    @config_option
    @click.option(
        "--address",
        metavar="HOST:PORT",
        help="The daemon's gRPC address. [env: CANDLED_GRPC_ADDRESS; default: 127.0.0.1:50051]",
    )
    @functools.wraps(command)
    def wrapper(*args: Any, config: str | None, address: str | None, **kwargs: Any) -> Any:
        settings = load_daemon_settings(config, {"grpc_address": address}).settings
        return command(*args, address=settings.grpc_address, **kwargs)

    return wrapper  # type: ignore[return-value]
