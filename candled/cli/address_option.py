"""Options of commands that call a daemon: its address, TLS and token."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click

from candled.cli.settings_options import config_option, load_daemon_settings
from candled.cli.shell_completion import complete_files

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
    http_address: str | None = None
    """Where the same daemon's HTTP port listens; None if only ``address`` is known."""


def target_option(command: C) -> C:
    """Add ``--config``, ``--address``, TLS and token options to a command, which is called with a ``target``.

    Without ``--address`` the target is where a daemon with the same settings would listen.
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
        settings = load_daemon_settings(config, {"grpc_address": address}).settings
        target = call.to(settings.grpc_address)
        if address is None:
            target = attrs.evolve(target, http_address=settings.http_address)
        return command(*args, target=target, **kwargs)

    return wrapper  # type: ignore[return-value]


def optional_target_option(command: C) -> C:
    """Add the same options to a command that works without a daemon: no ``--address``, no ``target``."""

    @click.option("--address", metavar="HOST:PORT", help="Address of a daemon to query instead of reading files.")
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
    @click.option("--tls", is_flag=True, help="Use TLS and trust the system's certificate authorities.")
    @click.option(
        "--ca",
        metavar="FILE",
        shell_complete=complete_files,
        help="Use TLS and trust the certificate authorities in this PEM file.",
    )
    @click.option(
        "--token-file",
        metavar="FILE",
        shell_complete=complete_files,
        envvar="CANDLED_TOKEN_FILE",
        help="File with the bearer token to send. [env: CANDLED_TOKEN_FILE]",
    )
    @functools.wraps(command)
    def wrapper(*args: Any, tls: bool, ca: str | None, token_file: str | None, **kwargs: Any) -> Any:
        return command(*args, call=_Call(tls, ca, token_file), **kwargs)

    return wrapper  # type: ignore[return-value]
