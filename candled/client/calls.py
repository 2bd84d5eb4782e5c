"""Requests and resumption, shared by both clients. No I/O, no clock."""

import random
import ssl
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import attrs

from candled.api import candles_pb2 as pb
from candled.client.decode import encode_time
from candled.client.model import ClientError, Heartbeat, Kind, Message

SERVICE: Final = "/candled.v1.CandleService/"
RESUME_METADATA: Final = "candled-resume-token"
SILENCE_SECONDS: Final = 45.0
"""Seconds of silence after which a stream is dead: the daemon sends a heartbeat after 15 s."""
CONNECT_SECONDS: Final = 10.0
CALL_SECONDS: Final = 30.0

PAGE_SIZE_MAX: Final = 1_000_000
"""More than any daemon sends at once."""

ELSEWHERE: Final = frozenset({"UNAVAILABLE", "RESOURCE_EXHAUSTED"})
"""Codes after which a client that knows several addresses goes to the next one."""

_RETRIED: Final = ELSEWHERE | {"ABORTED"}
_DELAY_FIRST: Final = 0.1
_DELAY_MAX: Final = 10.0


@attrs.frozen(slots=True)
class Method:
    """One method of the service and its message types."""

    path: str
    request: Any
    response: Any


STREAM_BARS: Final = Method(SERVICE + "StreamBars", pb.StreamBarsRequest, pb.StreamBarsResponse)
GET_BARS: Final = Method(SERVICE + "GetBars", pb.GetBarsRequest, pb.GetBarsResponse)
LIST_SYMBOLS: Final = Method(SERVICE + "ListSymbols", pb.ListSymbolsRequest, pb.ListSymbolsResponse)
GET_STATUS: Final = Method(SERVICE + "GetStatus", pb.GetStatusRequest, pb.GetStatusResponse)


def get_bars_request(
    symbol: str,
    interval: str,
    start: datetime | None,
    end: datetime | None,
    page_size: int,
    *,
    newest_first: bool = False,
) -> pb.GetBarsRequest:
    """Build the request for the first page."""
    return pb.GetBarsRequest(
        symbol=symbol,
        interval=interval,
        start_time=encode_time(start),
        end_time=encode_time(end),
        page_size=min(page_size, PAGE_SIZE_MAX),
        newest_first=newest_first,
    )


def parse_addresses(address: str | Sequence[str]) -> list[tuple[str, tuple[str, int]]]:
    """Return each address with its host and port; a string may have several, by comma.

    Raises:
        ValueError: one of them is not ``host:port``, or there is none.
    """
    words = address.split(",") if isinstance(address, str) else address
    return [(word.strip(), parse_address(word.strip())) for word in words] or [("", parse_address(""))]


def parse_address(address: str) -> tuple[str, int]:
    """Split an address into host and port.

    Raises:
        ValueError: not ``host:port``.
    """
    host, separator, port = address.rpartition(":")
    if not separator or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"address {address!r} is not host:port: give one such as 127.0.0.1:50051")
    return host.removeprefix("[").removesuffix("]"), int(port)


def ssl_context(tls: ssl.SSLContext | bool) -> ssl.SSLContext | None:
    """Return the TLS context to connect with, None for plaintext; a given context gets ALPN for HTTP/2."""
    if tls is False:
        return None
    context = ssl.create_default_context() if tls is True else tls
    context.set_alpn_protocols(["h2"])
    return context


def metadata(token: str | None) -> list[tuple[str, str]]:
    """Build the metadata of every call; white space around the token is stripped.

    Raises:
        ValueError: not a token.
    """
    token = (token or "").strip()
    if not all("!" <= letter <= "~" for letter in token):
        raise ValueError("token has letters that no token has: give one line of the daemon's tokens file")
    return [("authorization", f"Bearer {token}")] if token else []


def no_grpc(address: str, status: object) -> ClientError:
    """Build the error for a server that does not speak gRPC."""
    text = f"the server at {address} does not speak gRPC (HTTP status {status}): give the daemon's gRPC address"
    return ClientError("UNAVAILABLE" if status in {"429", "502", "503", "504"} else "UNKNOWN", text)


def no_answer(address: str, error: BaseException | None) -> ClientError:
    """Build the error for an address where no server answers."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, ssl.SSLError):
        hint = "is it served in clear?" if error.reason == "WRONG_VERSION_NUMBER" else "see what tls= asks for"
        return ClientError("UNAVAILABLE", f"TLS with {address} failed: {error}; {hint}")
    reason = f": {error}" if error is not None and str(error) else ""
    return ClientError("UNAVAILABLE", f"no daemon answers at {address}{reason}; start one, or give its address")


def silent(address: str) -> ClientError:
    """Build the error for a server that does not answer while another one does."""
    return ClientError("UNAVAILABLE", f"{address} does not answer, and another address does")


class BarStreamPlan:
    """State of one stream of bars: the next request, and the delay before it."""

    def __init__(
        self,
        *,
        symbols: Sequence[str],
        intervals: Sequence[str],
        start_time: datetime | None,
        closed_only: bool,
        max_updates_per_second: float,
        resume_token: str,
        reconnect: bool,
        heartbeats: bool = False,
        addresses: int = 1,
    ) -> None:
        for name, value in (("symbols", symbols), ("intervals", intervals)):
            if isinstance(value, str):
                # A ValueError, like every error in an argument here.
                raise ValueError(  # noqa: TRY004
                    f"{name} is one string: give a list, such as [{value!r}]"
                )
        self._request = pb.StreamBarsRequest(
            symbols=symbols,
            intervals=intervals,
            start_time=encode_time(start_time),
            closed_only=closed_only,
            max_updates_per_second=max_updates_per_second,
            resume_token=resume_token,
        )
        self._reconnect = reconnect
        self._heartbeats = heartbeats
        self._addresses = addresses
        self._was_open = False
        self._failures = 0
        self._resumed = False
        self._newest_closed: dict[tuple[str, str], Message] = {}
        """By symbol and interval, of those that the user has."""

    def request(self) -> pb.StreamBarsRequest:
        """Build the request that continues the stream after the last message received."""
        return self._request

    def opened(self, beginning: str) -> None:
        """Note that the stream is open; ``beginning`` is the token in its initial metadata, or empty."""
        self._was_open = True
        if beginning and not self._request.resume_token and not self._request.HasField("start_time"):
            self._request.resume_token = beginning

    def received(self, message: Message | Heartbeat) -> bool:
        """Note a message; return False if the user has it already or does not want it."""
        self._failures = 0
        if isinstance(message, Heartbeat):
            return self._heartbeats
        if message.resume_token:
            self._request.resume_token = message.resume_token
        if message.kind is not Kind.CLOSE and message.kind is not Kind.REVISION:
            return True
        key = (message.bar.symbol, message.bar.interval)
        before = self._newest_closed.get(key)
        if self._resumed and before is not None and before.bar == message.bar:
            return False
        self._newest_closed[key] = message
        return True

    def failed(self, error: ClientError) -> float:
        """Note a failure; return the seconds to wait before the next attempt.

        Raises:
            ClientError: the same one, if a retry cannot help or is switched off.
        """
        # A first call that fails at all addresses is more likely a mistake in them than a break: raise it.
        is_first = not self._was_open and self._failures + 1 >= self._addresses
        if not self._reconnect or is_first or error.code not in _RETRIED:
            raise error
        self._resumed = True
        self._failures += 1
        delay: float = min(_DELAY_FIRST * 2 ** (self._failures - 1), _DELAY_MAX)
        return delay * random.uniform(0.5, 1)  # noqa: S311 - so that clients of a restarted daemon spread out
