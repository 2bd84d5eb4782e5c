"""Every setting, once: name, type, default, help text and check. ``sources.load_settings`` fills them in."""

import re
from collections.abc import Callable, Collection
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import attrs

Check = Callable[[Any], str | None]
"""Takes a value and returns what is allowed instead ("must be ..."); None if the value is allowed."""
Shown = Callable[[Any], str]
"""Takes a value and returns it without its secrets."""

HISTORY_SCHEMES: Final = ("s3", "gs", "az")
PROXY_SCHEMES: Final = ("http", "https", "socks5", "socks5h")
_CREDENTIAL_BYTES_MAX: Final = 255
"""Of a user or a password: what SOCKS5 can carry."""

PORT_DIGITS_MAX: Final = 5
HOST_MAX: Final = 253
"""Characters of a host name."""
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII | re.IGNORECASE)


def setting(
    help_text: str,
    *,
    default: Any,
    check: Check | None = None,
    shown: Shown | None = None,
    normalize: Callable[[Any], Any] | None = None,
) -> Any:
    """Make one setting: an attrs field with its own help text, which refuses what ``check`` does not allow.

    Args:
        help_text: for ``--help``.
        default: its value where no source has one.
        check: what is allowed.
        shown: of a setting that may hold a secret, the text without it; no message repeats what was given.
        normalize: applied to a value from outside before it is checked.
    """

    def validate(_instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
        if check is not None and (complaint := check(value)) is not None:
            raise ValueError(f"{attribute.name} {complaint}" + ("" if shown else f", not {value!r}"))

    metadata = {"help": help_text, "check": check, "shown": shown, "normalize": normalize}
    return attrs.field(default=default, validator=validate, metadata=metadata, repr=shown is None)


@attrs.frozen
class OneOf:
    """Checks that the value is one of these words."""

    words: tuple[str, ...]

    def __call__(self, value: object) -> str | None:
        """Return what is allowed instead."""
        return None if value in self.words else f"must be one of {', '.join(self.words)}"


def one_of(*allowed: str) -> Check:
    """Check that the value is one of these words."""
    return OneOf(allowed)


def one_of_numbers(*allowed: int) -> Check:
    """Check that the value is one of these numbers."""
    return lambda value: None if value in allowed else f"must be one of {', '.join(map(str, allowed))}"


def at_least(minimum: float) -> Check:
    """Check that the value is this number or more."""
    return lambda value: None if value >= minimum else f"must be at least {minimum:g}"


def above(bound: float) -> Check:
    """Check that the value is more than this number."""
    return lambda value: None if value > bound else f"must be more than {bound:g}"


def between(minimum: float, maximum: float) -> Check:
    """Check that the value lies between two numbers, both included."""
    return lambda value: None if minimum <= value <= maximum else f"must be from {minimum:g} to {maximum:g}"


def symbol_list(value: tuple[str, ...]) -> str | None:
    """Check that the value names at least one symbol, each once and in upper case, as the exchange writes them."""
    if not value:
        return "must name at least one symbol"
    if any(symbol != symbol.upper() for symbol in value):
        return "must be in upper case"
    return None if len(set(value)) == len(value) else "must name each symbol once"


def upper_case(value: tuple[str, ...]) -> tuple[str, ...]:
    """Return the symbols as exchanges write them, so that a user may type them in any case."""
    return tuple(symbol.upper() for symbol in value)


def url_list(*schemes: str) -> Check:
    """Check that a value is base URLs, each of one of these schemes, with a host and no more than a port."""
    allowed = " or ".join(f"{scheme}://host" for scheme in schemes)

    def check(value: tuple[str, ...]) -> str | None:
        for url in value:
            if (complaint := base_url_complaint(url, schemes)) is not None:
                return f"must be URLs like {allowed} or with a port, by comma ({url}: {complaint})"
        return None

    return check


def base_url_complaint(url: str, schemes: Collection[str]) -> str | None:
    """Return what keeps a text from being the base URL of a server; None if nothing does.

    Args:
        url: the text; a slash at its end is accepted.
        schemes: those allowed.
    """
    if not url.isprintable() or " " in url:
        return "it holds a space or a character that cannot be printed"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # of the port, or of an IPv6 address
        return "its host or port cannot be read"
    if parts.scheme not in schemes:
        return f"it does not begin with {' or '.join(f'{scheme}://' for scheme in schemes)}"
    if parts.username is not None or parts.password is not None:
        return "it names a user"
    if parts.path not in ("", "/") or parts.query or parts.fragment or url.endswith(("?", "#")):
        return "it has a path"
    if port == 0 or parts.netloc.endswith(":"):
        return "its port is missing or 0"
    return None if is_host(parts.hostname or "") else "its host cannot be one"


def proxy_complaint(text: str) -> str | None:
    """Return what keeps a text from being the URL of a proxy, without repeating it; None if nothing does."""
    if not text.isprintable() or " " in text:
        return "it holds a space or a character that cannot be printed"
    url = text if "://" in text else f"{PROXY_SCHEMES[0]}://{text}"
    scheme, _, rest = url.partition("://")
    credentials, _, host = rest.rpartition("@")
    if set(credentials) & set("/?#[]"):
        return "its user or password holds a character that must be percent-encoded"
    for part in credentials.split(":", 1):
        if len(unquote(part).encode("utf-8", "replace")) > _CREDENTIAL_BYTES_MAX:
            return f"its user or password is longer than {_CREDENTIAL_BYTES_MAX} bytes"
    return base_url_complaint(f"{scheme.lower()}://{host}", PROXY_SCHEMES)


def proxy_setting(value: str | None) -> str | None:
    """Check that the value is the URL of a proxy, or the word ``direct``."""
    if value in (None, "direct") or (complaint := proxy_complaint(value or "")) is None:
        return None
    return f"must be the URL of a proxy like http://user:password@host:port, or direct ({complaint})"


def without_credentials(value: str | None) -> str:
    """Return a proxy's URL as it may be shown."""
    if value is None:
        return ""
    credentials, at, host = value.rpartition("@")
    scheme, colon, _ = credentials.partition("://")
    return f"{scheme}{colon}***@{host}" if at and colon else f"{'***@' if at else ''}{host}"


def is_host(host: str) -> bool:
    """Return whether a text can be a host: an IP address, or labels as the domain name system takes them."""
    try:
        ip_address(host)
    except ValueError:
        pass
    else:
        return True
    try:
        name = host.encode("idna").decode("ascii").removesuffix(".")
    except UnicodeError:
        return False
    return len(name) <= HOST_MAX and all(_LABEL.fullmatch(label) for label in name.split("."))


def bus_url_list(value: tuple[str, ...]) -> str | None:
    """Check that a value is URLs of NATS servers, without users: those stand in a file."""
    for url in value:
        if (complaint := base_url_complaint(url, ("nats", "tls"))) is not None:
            return f"must be URLs like nats://host:4222 or tls://host:4222, by comma ({url}: {complaint})"
    return None


def address(value: str) -> str | None:
    """Check that the value is ``host:port``; port 0 lets the system choose."""
    host, colon, port = value.rpartition(":")
    if not (colon and port.isascii() and port.isdigit() and len(port) <= PORT_DIGITS_MAX and int(port) < 65536):
        return "must be host:port with a port from 0 to 65535"
    is_bracketed = host.startswith("[") and host.endswith("]")
    return (
        None if not host or is_host(host[1:-1] if is_bracketed else host) else "must name a host that can be one"
    )


def history_location(value: str | None) -> str | None:
    """Check that the value is the URL of a bucket with a prefix, or of a folder."""
    if value is None:
        return None
    parts = urlsplit(value)
    if parts.query or parts.fragment or "@" in parts.netloc:
        return "must be a bucket and a prefix only, without user, query or fragment"
    if parts.scheme == "file":
        named = parts.netloc in ("", "localhost") and bool(parts.path.strip("/"))
        return None if named else "must name a folder, as file:///path/of/a/folder"
    if parts.scheme not in HISTORY_SCHEMES or not parts.netloc:
        return "must be s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or file:///folder"
    return None


@attrs.frozen(kw_only=True)
class DaemonSettings:
    """Settings of ``candled run``."""

    exchange: str = setting("Exchange whose trades are read.", default="binance")
    symbols: tuple[str, ...] = setting(
        "Symbols to build bars for.",
        default=("BTCUSDT", "ETHUSDT", "PEPEUSDT"),
        check=symbol_list,
        normalize=upper_case,
    )
    stream: str = setting(
        "Trade stream to read: trade or aggTrade.", default="trade", check=one_of("trade", "aggTrade")
    )
    stream_urls: tuple[str, ...] = setting(
        "Websocket base URLs of the exchange, tried in turn; without any, its own.",
        default=(),
        check=url_list("ws", "wss"),
    )
    rest_urls: tuple[str, ...] = setting(
        "REST base URLs of the exchange, tried in turn; without any, its own.",
        default=(),
        check=url_list("http", "https"),
    )
    proxy: str | None = setting(
        "Proxy to the exchange, http, https or socks5://user:password@host:port; direct: none. Without it, "
        "HTTPS_PROXY, HTTP_PROXY and ALL_PROXY say. NO_PROXY names what is reached directly.",
        default=None,
        check=proxy_setting,
        shown=without_credentials,
    )
    data_dir: Path = setting("Directory in which bars are stored.", default=Path("candled-data"))
    history_url: str | None = setting(
        "Object store that gets a copy of the history, that an empty data directory is restored from, and that an "
        "edge reads older bars from: s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or "
        "file:///folder, with {shard} for the number of a shard.",
        default=None,
        check=history_location,
        shown=without_credentials,
    )
    history_endpoint: str | None = setting(
        "Address of an S3-compatible server that has it, like https://host:9000; without it, the provider's own.",
        default=None,
        check=lambda value: None if value is None else url_list("http", "https")((value,)),
    )
    cache_dir: Path | None = setting(
        "Folder of what an edge has read of the history in the object store; without it, ~/.cache/candled.",
        default=None,
    )
    cache_bytes: int = setting(
        "Size of that folder beyond which files not used lately are removed.",
        default=10_000_000_000,
        check=at_least(1),
    )
    grpc_address: str = setting("Where the gRPC API listens, host:port.", default="127.0.0.1:50051", check=address)
    http_address: str = setting(
        "Where health, metrics and the chart listen, host:port.", default="127.0.0.1:8080", check=address
    )
    grpc_tls_certificate: Path | None = setting(
        "PEM certificate chain of the gRPC port; without it the port is not encrypted.", default=None
    )
    grpc_tls_key: Path | None = setting(
        "PEM key of that certificate, if it is not in the same file.", default=None
    )
    grpc_tls_client_authority: Path | None = setting(
        "PEM certificates of the authorities that must have signed the certificates of gRPC clients.", default=None
    )
    tokens_file: Path | None = setting(
        "File of bearer tokens, one per line; clients must send one. Re-read when it changes.", default=None
    )
    client_connections_max: int = setting(
        "Maximum number of client connections of each port.", default=10_000, check=at_least(1)
    )
    client_connections_per_address_max: int = setting(
        "Of those, the maximum from one address (IPv6: one /64): more where all clients come through a proxy.",
        default=1_000,
        check=at_least(1),
    )
    grpc_streams_max: int = setting("Maximum number of open streams.", default=10_000, check=at_least(1))
    grpc_backlog_max: int = setting(
        "Maximum number of closed bars that wait for one slow stream; beyond it the stream is ended.",
        default=10_000,
        check=at_least(1),
    )
    close_grace: float = setting(
        "Seconds of exchange time after a bar's end in which its last trades may still arrive.",
        default=1.0,
        check=at_least(0),
    )
    connections: int = setting(
        "Stream connections kept open for each group of symbols.", default=1, check=at_least(1)
    )
    websocket_library: str = setting(
        "Library that reads the exchange's streams: websockets, or trio-websocket, which takes more CPU.",
        default="websockets",
        check=one_of("websockets", "trio-websocket"),
    )
    rest_weight_per_minute: int | None = setting(
        "Request weight per minute that repair and backfill may use; without a number, what suits the exchange.",
        default=None,
        check=lambda value: None if value is None else at_least(50)(value),
    )
    backfill_hours: float = setting(
        "Hours of past bars to fetch from the exchange for a symbol that has none stored.",
        default=0.0,
        check=at_least(0),
    )
    retention_days: int = setting(
        "Minimum days that bars are kept; 0: forever. Whole files are removed, a month when its last day is due.",
        default=0,
        check=at_least(0),
    )
    compact_files: int = setting(
        "Number of a symbol's sealed files of the current month at which they are joined; a past month always is.",
        default=10,
        check=at_least(2),
    )
    seal_delay: float = setting(
        "Seconds of exchange time after midnight UTC at which the previous day is sealed.",
        default=3600.0,
        check=between(0, 86_400),
    )
    publish_delay: float = setting(
        "Seconds from storing a bar to writing the file in which other programs see it.",
        default=5.0,
        check=between(0.1, 60),
    )
    superseded_grace: float = setting(
        "Seconds that a replaced file stays: more than the longest query over the files takes.",
        default=900.0,
        check=at_least(1),
    )
    chart: bool = setting("Serve the chart on the HTTP port.", default=True)
    log_level: str = setting(
        "Lowest level logged: debug, info, warning or error.",
        default="info",
        check=one_of("debug", "info", "warning", "error"),
    )
    log_format: str = setting(
        "Form of log lines: console, json, or auto (console on a terminal).",
        default="auto",
        check=one_of("auto", "console", "json"),
    )
    loop_held_max: float = setting(
        "Seconds that one call may hold the event loop before the log shows its stack; 0: never.",
        default=0.05,
        check=at_least(0),
    )
    shards: str = setting(
        "Symbols of several daemons that share the work, as A,B;C: each daemon serves those of its shard.",
        default="",
    )
    shard: int = setting("Number of this daemon's shard, from 0.", default=0, check=at_least(0))
    shard_address: str = setting(
        "gRPC address of a shard, with {shard} for its number: named to clients that ask another shard.",
        default="",
    )
    role: str = setting(
        "What this process does: all; beside others on a bus: ingest (read the exchange), edge (serve clients).",
        default="all",
        check=one_of("all", "ingest", "edge"),
    )
    process_name: str = setting(
        "Name of this process beside others on a bus, as status and the chart show it; without one, the host's.",
        default="",
    )
    bus_urls: tuple[str, ...] = setting(
        "NATS servers of the bus between ingesters and edges, tried in turn.", default=(), check=bus_url_list
    )
    bus_login_file: Path | None = setting(
        "File with user:password, or a token, for the bus; read at the start.", default=None
    )
    bus_tls_authority: Path | None = setting(
        "PEM certificates of the authorities that sign those of tls:// servers; without it, the system's.",
        default=None,
    )
    bus_tls_certificate: Path | None = setting(
        "PEM certificate that shows tls:// servers who this client is; needs bus_tls_key.", default=None
    )
    bus_tls_key: Path | None = setting("PEM private key of bus_tls_certificate.", default=None)
    bus_monitor_urls: tuple[str, ...] = setting(
        "HTTP monitoring of the bus's servers, by which an ingester checks that they sync always.",
        default=(),
        check=url_list("http", "https"),
    )
    bus_replicas: int = setting(
        "Servers of the bus that keep each closed bar, when an ingester makes the log: 3 survive the loss of one.",
        default=3,
        check=one_of_numbers(1, 3, 5),
    )
    bus_days: float = setting(
        "Days that the log on the bus keeps closed bars, when an ingester makes it: more than a week, so that "
        "bars of a week close whole.",
        default=8.0,
        check=at_least(0.01),
    )
    bus_bars_max: int = setting(
        "Closed minutes of the log that an ingester or an edge holds in memory, of all symbols together.",
        default=200_000,
        check=at_least(1_000),
    )
    ingest_rank: int = setting(
        "Order of the ingesters of the same symbols, from 0: each publishes what those before it did not.",
        default=0,
        check=between(0, 9),
    )
    ingest_hedge: float = setting(
        "Seconds that an ingester waits for those of the rank before.", default=0.1, check=between(0, 10)
    )
    edge_hold: float = setting(
        "Seconds that an edge holds updates of the next bar until the log has the close of the one before.",
        default=0.5,
        check=between(0, 10),
    )


@attrs.frozen(kw_only=True)
class ExchangeSettings:
    """Settings of ``candled exchange``."""

    address: str = setting("Where streams and REST listen, host:port.", default="127.0.0.1:9443", check=address)
    form: str = setting(
        "Exchange whose API it speaks: binance or coinbase.",
        default="binance",
        check=one_of("binance", "coinbase"),
    )
    seed: int = setting("Seed of the synthetic market: the same seed gives the same trades.", default=1)
    speed: float = setting("Speed of its clock, as a multiple of real time.", default=1.0, check=above(0))
    replay: Path | None = setting("Recorded trades to replay instead of a synthetic market.", default=None)
    faults: str = setting("Faults to inject: see `candled exchange --help`.", default="")
    symbols: tuple[str, ...] = setting(
        "Symbols of the synthetic market; any names.",
        default=("BTCUSDT", "ETHUSDT", "PEPEUSDT"),
        check=symbol_list,
        normalize=upper_case,
    )
    rate: float = setting(
        "Number of trades of the synthetic market, as a multiple of the usual one.", default=1.0, check=above(0)
    )
    epoch: str = setting(
        "Instant (like 2026-01-31T12:00:00Z) at which its clock equals the wall clock, so that a restart "
        "continues at the same speed; default: its start.",
        default="",
    )
    weight_limit: int = setting(
        "Request weight that a client address may use in a minute of real time, at any speed.",
        default=6000,
        check=at_least(1),
    )
    attempt_limit: int = setting(
        "Stream connections that a client address may attempt in five minutes of real time.",
        default=300,
        check=at_least(1),
    )
    replay_begin: str = setting(
        "When a replay begins: subscriber (with the first one), command (POST /replay/start), or now.",
        default="subscriber",
        check=one_of("subscriber", "command", "now"),
    )
