"""Options that name a history in an object store, and how it is read."""

import functools
import os
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any, TypeVar

import click

from candled.cli.parts import StoredHistory
from candled.cli.settings_options import complete_symbols, load_daemon_settings
from candled.cli.shell_completion import complete_directories
from candled.cli.symbols import split_symbols
from candled.cli.times import parse_time

C = TypeVar("C", bound=Callable[..., Any])

history_endpoint_option = click.option(
    "--history-endpoint",
    metavar="URL",
    help="With --history: address of an S3-compatible server. [env: CANDLED_HISTORY_ENDPOINT]",
)

_WHERE = (
    click.option(
        "--history",
        "history_url",
        metavar="URL",
        help="Read a history in an object store instead: s3://bucket/prefix, gs://, az:// or file:///folder.",
    ),
    history_endpoint_option,
    click.option(
        "--cache-dir",
        type=click.Path(path_type=Path),
        envvar="CANDLED_CACHE_DIR",
        shell_complete=complete_directories,
        help="With --history: folder of the files that were read. "
        "[env: CANDLED_CACHE_DIR; default: ~/.cache/candled]",
    ),
    click.option(
        "--cache-bytes",
        type=click.IntRange(min=1),
        envvar="CANDLED_CACHE_BYTES",
        help="With --history: size beyond which those not used lately are removed. "
        "[env: CANDLED_CACHE_BYTES; default: 10000000000]",
    ),
)
_WHAT = (
    click.option(
        "--symbols",
        "history_symbols",
        metavar="A,B,...",
        shell_complete=complete_symbols,
        help="With --history: read sealed files of these symbols only.",
    ),
    click.option(
        "--since", "history_since", metavar="TIME", help="With --history: leave out sealed files that end earlier."
    ),
)


def stored_history_options(*, selects: bool) -> Callable[[C], C]:
    """Add ``--history`` and its options to a command, which is called with ``history``: None, or where to read.

    Args:
        selects: Whether there are options for which symbols and which time to read.
    """

    def decorate(command: C) -> C:
        @functools.wraps(command)
        def wrapper(
            *args: Any,
            history_url: str | None,
            history_endpoint: str | None,
            cache_dir: Path | None,
            cache_bytes: int | None,
            history_symbols: str | None = None,
            history_since: str | None = None,
            **kwargs: Any,
        ) -> Any:
            history = None
            if history_url is not None:
                since = parse_time(history_since, UTC, option="--since") if history_since else None
                history = StoredHistory(
                    url=history_url,
                    endpoint=endpoint_of(history_endpoint),
                    symbols=split_symbols((history_symbols,)) if history_symbols else None,
                    since=None if since is None else int(since.timestamp()) * 1_000_000,
                    cache_dir=cache_dir,
                    cache_bytes=cache_bytes,
                )
            return command(*args, history=history, **kwargs)

        for option in reversed((*_WHERE, *_WHAT) if selects else _WHERE):
            wrapper = option(wrapper)
        return wrapper  # type: ignore[return-value]

    return decorate


def endpoint_of(given: str | None) -> str | None:
    """Return the endpoint that was given, or that of the environment or the settings file."""
    config = os.environ.get("CANDLED_CONFIG")
    return load_daemon_settings(config, {"history_endpoint": given}).settings.history_endpoint
