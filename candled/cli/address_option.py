"""Where the daemon is that a client command speaks to, and how it is spoken to."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click

from candled.cli.settings_options import config_option, load_daemon_settings

C = TypeVar("C", bound=Callable[..., Any])


@attrs.frozen
class Target:
    """A daemon to call."""

    address: str
    """``host:port``."""
    tls: bool = False
    authority: Path | None = None
    """PEM certificates to trust instead of the system's."""
    token_file: Path | None = None


def target_option(command: C) -> C:
    """Give a command ``--config``, ``--address`` and the options of a call; it gets a ``target``.

    Without ``--address`` that is where a daemon with the same settings would listen.
    """

    @config_option
    @click.option(
        "--address",
        metavar="HOST:PORT",
        help="The daemon's gRPC address. [env: CANDLED_GRPC_ADDRESS; default: 127.0.0.1:50051]",
    )
    @_call_options
    @functools.wraps(command)
    def wrapper(*args: Any, config: str | None, address: str | None, call: "_Call", **kwargs: Any) -> Any:
        chosen = load_daemon_settings(config, {"grpc_address": address}).settings.grpc_address
        return command(*args, target=call.to(chosen), **kwargs)

    return wrapper  # type: ignore[return-value]


def optional_target_option(command: C) -> C:
    """The same for a command that can do without a daemon: its ``target`` is None without ``--address``."""

    @click.option("--address", metavar="HOST:PORT", help="Ask the daemon there instead of reading files.")
    @_call_options
    @functools.wraps(command)
    def wrapper(*args: Any, address: str | None, call: "_Call", **kwargs: Any) -> Any:
        return command(*args, target=None if address is None else call.to(address), **kwargs)

    return wrapper  # type: ignore[return-value]


@attrs.frozen
class _Call:
    tls: bool
    authority: str | None
    token_file: str | None

    def to(self, address: str) -> Target:
        authority = Path(self.authority) if self.authority else None
        token_file = Path(self.token_file) if self.token_file else None
        return Target(address, self.tls or authority is not None, authority, token_file)


def _call_options(command: C) -> C:
    @click.option("--tls", is_flag=True, help="Speak TLS to it, trusting the system's authorities.")
    @click.option("--ca", metavar="FILE", help="Speak TLS, trusting these PEM certificates instead.")
    @click.option(
        "--token-file",
        metavar="FILE",
        envvar="CANDLED_TOKEN_FILE",
        help="File with the bearer token to send. [env: CANDLED_TOKEN_FILE]",
    )
    @functools.wraps(command)
    def wrapper(*args: Any, tls: bool, ca: str | None, token_file: str | None, **kwargs: Any) -> Any:
        return command(*args, call=_Call(tls, ca, token_file), **kwargs)

    return wrapper  # type: ignore[return-value]
