"""Every setting, once: name, type, default, meaning, and what is allowed. ``settings_sources`` fills them in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

Check = Callable[[Any], str | None]
"""Looks at a value and says what is allowed instead ("must be ..."), or None if it is well."""


def setting(help_text: str, *, default: Any, check: Check | None = None) -> Any:
    """One setting: an attrs field that carries its own help text and refuses what is not allowed."""

    def validate(_instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
        if check is not None and (complaint := check(value)) is not None:
            raise ValueError(f"{attribute.name} {complaint}, not {value!r}")

    return attrs.field(default=default, validator=validate, metadata={"help": help_text, "check": check})


def one_of(*allowed: str) -> Check:
    """The value is one of these words."""
    return lambda value: None if value in allowed else f"must be one of {', '.join(allowed)}"


def at_least(least: float) -> Check:
    """The value is this number or more."""
    return lambda value: None if value >= least else f"must be at least {least:g}"


def above(bound: float) -> Check:
    """The value is more than this number."""
    return lambda value: None if value > bound else f"must be more than {bound:g}"


def between(least: float, most: float) -> Check:
    """The value is a number from one to the other."""
    return lambda value: None if least <= value <= most else f"must be from {least:g} to {most:g}"


def symbol_list(value: tuple[str, ...]) -> str | None:
    """The value names one symbol or more, each once and in upper case, as the exchange writes them."""
    if not value:
        return "must name at least one symbol"
    if any(symbol != symbol.upper() for symbol in value):
        return "must be in upper case"
    return None if len(set(value)) == len(value) else "must name each symbol once"


def url_list(*schemes: str) -> Check:
    """The value is one base URL or more, each of one of these schemes."""
    allowed = " or ".join(f"{scheme}://" for scheme in schemes)

    def check(value: tuple[str, ...]) -> str | None:
        if value and all(url.startswith(tuple(f"{scheme}://" for scheme in schemes)) for url in value):
            return None
        return f"must be one URL or more, each beginning with {allowed}"

    return check


def address(value: str) -> str | None:
    """The value is ``host:port``; port 0 lets the system choose."""
    _, colon, port = value.rpartition(":")
    well = colon and port.isascii() and port.isdigit() and int(port) < 65536
    return None if well else "must be host:port with a port from 0 to 65535"


@attrs.frozen(kw_only=True)
class DaemonSettings:
    """Settings of ``candled run``."""

    symbols: tuple[str, ...] = setting(
        "Symbols to build bars for.", default=("BTCUSDT", "ETHUSDT", "PEPEUSDT"), check=symbol_list
    )
    stream: str = setting(
        "Trade stream to read: trade or aggTrade.", default="trade", check=one_of("trade", "aggTrade")
    )
    stream_urls: tuple[str, ...] = setting(
        "Websocket base URLs of the exchange, tried in turn.",
        default=(
            "wss://stream.binance.com:9443",
            "wss://stream.binance.com:443",
            "wss://data-stream.binance.vision",
        ),
        check=url_list("ws", "wss"),
    )
    rest_urls: tuple[str, ...] = setting(
        "REST base URLs of the exchange, tried in turn.",
        default=("https://api.binance.com", "https://data-api.binance.vision"),
        check=url_list("http", "https"),
    )
    data_dir: Path = setting("Where bars are kept.", default=Path("candled-data"))
    grpc_address: str = setting("Where the gRPC API listens, host:port.", default="127.0.0.1:50051", check=address)
    http_address: str = setting(
        "Where health, metrics and the chart listen, host:port.", default="127.0.0.1:8080", check=address
    )
    grpc_tls_certificate: Path | None = setting(
        "PEM certificate chain of the gRPC port; without it the port speaks in clear.", default=None
    )
    grpc_tls_key: Path | None = setting(
        "PEM key of that certificate, if it is not in the same file.", default=None
    )
    grpc_tls_client_authority: Path | None = setting(
        "PEM certificates: gRPC clients must show one that these have signed.", default=None
    )
    tokens_file: Path | None = setting(
        "Bearer tokens, one a line: who calls must send one. Re-read when it changes.", default=None
    )
    grpc_streams_max: int = setting("Streams that may be open at once.", default=10_000, check=at_least(1))
    grpc_backlog_max: int = setting(
        "Closed bars that may wait for one slow stream before it is ended.", default=10_000, check=at_least(1)
    )
    close_grace: float = setting(
        "Seconds of exchange time after a bar's end in which its last trades may still arrive.",
        default=1.0,
        check=at_least(0),
    )
    connections: int = setting("Live stream connections for each group of symbols.", default=1, check=at_least(1))
    rest_weight_per_minute: int = setting(
        "Request weight a minute that repairs may use.", default=3000, check=at_least(50)
    )
    backfill_hours: float = setting(
        "Hours of bars to fetch from the exchange's klines for a symbol that has none stored.",
        default=0.0,
        check=at_least(0),
    )
    retention_days: int = setting(
        "Days that bars are kept at least; 0: for good. They go by whole files, a month when its last day is due.",
        default=0,
        check=at_least(0),
    )
    compact_files: int = setting(
        "A symbol's sealed files of the running month are joined at so many; a month that is over, in any case.",
        default=10,
        check=at_least(2),
    )
    seal_delay: float = setting(
        "Seconds of exchange time after midnight UTC at which the day before is sealed.",
        default=3600.0,
        check=between(0, 86_400),
    )
    publish_delay: float = setting(
        "Seconds from a stored bar to the file in which other programs see it.",
        default=5.0,
        check=between(0.1, 60),
    )
    superseded_grace: float = setting(
        "Seconds that a file stays which another has replaced: as long as the longest query over the files takes.",
        default=900.0,
        check=at_least(1),
    )
    chart: bool = setting("Serve the chart on the HTTP port.", default=True)
    log_level: str = setting(
        "Least level logged: debug, info, warning or error.",
        default="info",
        check=one_of("debug", "info", "warning", "error"),
    )
    log_format: str = setting(
        "Log lines: console, json, or auto (console on a terminal).",
        default="auto",
        check=one_of("auto", "console", "json"),
    )
    shards: str = setting(
        "Symbols of several daemons that share the work, as A,B;C: this one serves those of its shard.", default=""
    )
    shard: int = setting("Number of this daemon's shard, from 0.", default=0, check=at_least(0))
    shard_address: str = setting(
        "gRPC address of a shard, with {shard} for its number: told to clients that ask the wrong one.", default=""
    )


@attrs.frozen(kw_only=True)
class ExchangeSettings:
    """Settings of ``candled exchange``."""

    address: str = setting("Where streams and REST listen, host:port.", default="127.0.0.1:9443", check=address)
    seed: int = setting("Seed of the synthetic market: the same seed gives the same trades.", default=1)
    speed: float = setting("How many times faster than real time its clock runs.", default=1.0, check=above(0))
    replay: Path | None = setting("Recorded trades to replay instead of a synthetic market.", default=None)
    faults: str = setting("Faults to commit: see `candled exchange --help`.", default="")
    symbols: tuple[str, ...] = setting(
        "Symbols of the synthetic market; any name will do.",
        default=("BTCUSDT", "ETHUSDT", "PEPEUSDT"),
        check=symbol_list,
    )
    rate: float = setting(
        "How many times the usual number of trades the synthetic market has.", default=1.0, check=above(0)
    )
    epoch: str = setting(
        "Instant (like 2026-01-31T12:00:00Z) at which its clock equals the wall clock, so that a restart goes on "
        "at the same speed; default: its start.",
        default="",
    )
    weight_limit: int = setting(
        "Request weight that an address may use in a real minute, whatever the speed.",
        default=6000,
        check=at_least(1),
    )
    attempt_limit: int = setting(
        "Attempts to connect to the streams that an address has in five real minutes.",
        default=300,
        check=at_least(1),
    )
    replay_begin: str = setting(
        "When a replay begins: with the first subscriber, by command (POST /replay/start), or now.",
        default="subscriber",
        check=one_of("subscriber", "command", "now"),
    )
