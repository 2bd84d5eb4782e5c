"""Every setting, once: name, type, default, meaning. The command line, the environment and the file read this."""

from pathlib import Path
from typing import Any

import attrs


def setting(help_text: str, *, default: Any) -> Any:
    """One setting: an attrs field that carries its own help text."""
    return attrs.field(default=default, metadata={"help": help_text})


@attrs.frozen(kw_only=True)
class DaemonSettings:
    """Settings of ``candled run``."""

    symbols: tuple[str, ...] = setting("Symbols to build bars for.", default=("BTCUSDT", "ETHUSDT", "PEPEUSDT"))
    stream: str = setting("Trade stream to read: trade or aggTrade.", default="trade")
    stream_urls: tuple[str, ...] = setting(
        "Websocket base URLs of the exchange, tried in turn.",
        default=(
            "wss://stream.binance.com:9443",
            "wss://stream.binance.com:443",
            "wss://data-stream.binance.vision",
        ),
    )
    rest_urls: tuple[str, ...] = setting(
        "REST base URLs of the exchange, tried in turn.",
        default=("https://api.binance.com", "https://data-api.binance.vision"),
    )
    data_dir: Path = setting("Where bars are kept.", default=Path("candled-data"))
    grpc_address: str = setting("Where the gRPC API listens, host:port.", default="127.0.0.1:50051")
    http_address: str = setting("Where health, metrics and the chart listen, host:port.", default="127.0.0.1:8080")
    close_grace: float = setting(
        "Seconds of exchange time after a bar's end in which its last trades may still arrive.", default=1.0
    )
    connections: int = setting("Live stream connections for each group of symbols.", default=1)
    rest_weight_per_minute: int = setting("Request weight a minute that repairs may use.", default=3000)
    log_level: str = setting("Least level logged: debug, info, warning or error.", default="info")
    log_format: str = setting("Log lines: console, json, or auto (console on a terminal).", default="auto")


@attrs.frozen(kw_only=True)
class ExchangeSettings:
    """Settings of ``candled exchange``."""

    address: str = setting("Where streams and REST listen, host:port.", default="127.0.0.1:9443")
    seed: int = setting("Seed of the synthetic market: the same seed gives the same trades.", default=1)
    speed: float = setting("How many times faster than real time its clock runs.", default=1.0)
    replay: Path | None = setting("Recorded trades to replay instead of a synthetic market.", default=None)
    faults: str = setting("Faults to commit: see `candled exchange --help`.", default="")
    symbols: tuple[str, ...] = setting(
        "Symbols of the synthetic market; any name will do.", default=("BTCUSDT", "ETHUSDT", "PEPEUSDT")
    )
    rate: float = setting("How many times the usual number of trades the synthetic market has.", default=1.0)
    epoch: str = setting(
        "Instant (like 2026-01-31T12:00:00Z) at which its clock equals the wall clock, so that a restart goes on "
        "at the same speed; default: its start.",
        default="",
    )
    replay_begin: str = setting(
        "When a replay begins: with the first subscriber, by command (POST /replay/start), or now.",
        default="subscriber",
    )
