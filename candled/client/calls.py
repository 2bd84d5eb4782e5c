"""What both clients share: requests, and how a stream goes on after a break. No I/O, no clock."""

import random
import ssl
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import attrs

from candled.api import candles_pb2 as pb
from candled.client.decode import encode_time
from candled.client.model import ClientError, Kind, Message

SERVICE: Final = "/candled.v1.CandleService/"
RESUME_METADATA: Final = "candled-resume-token"
SILENCE_SECONDS: Final = 45.0
"""A stream silent for so long is dead: the daemon sends a heartbeat after 15 s."""
CONNECT_SECONDS: Final = 10.0
CALL_SECONDS: Final = 30.0

_RETRIED: Final = frozenset({"UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED"})
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
    symbol: str, interval: str, start_time: datetime | None, end_time: datetime | None, page_size: int
) -> pb.GetBarsRequest:
    """The request for the first page."""
    return pb.GetBarsRequest(
        symbol=symbol,
        interval=interval,
        start_time=encode_time(start_time),
        end_time=encode_time(end_time),
        page_size=page_size,
    )


def parse_address(address: str) -> tuple[str, int]:
    """Host and port.

    Raises:
        ValueError: not ``host:port``.
    """
    host, separator, port = address.rpartition(":")
    if not separator or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"address {address!r} is not host:port: give one such as 127.0.0.1:50051")
    return host.removeprefix("[").removesuffix("]"), int(port)


def ssl_context(tls: ssl.SSLContext | bool) -> ssl.SSLContext | None:
    """The context to dial with; None for a connection in clear. A given context is told to speak HTTP/2."""
    if tls is False:
        return None
    context = ssl.create_default_context() if tls is True else tls
    context.set_alpn_protocols(["h2"])
    return context


def metadata(token: str | None) -> list[tuple[str, str]]:
    """What every call carries; white space around a token, as a file may have it, does not count.

    Raises:
        ValueError: not a token.
    """
    token = (token or "").strip()
    if not all("!" <= letter <= "~" for letter in token):
        raise ValueError("token has letters that no token has: give one line of the daemon's tokens file")
    return [("authorization", f"Bearer {token}")] if token else []


def no_grpc(address: str, status: object) -> ClientError:
    """Something else answers there."""
    text = f"what answers at {address} does not speak gRPC (HTTP status {status}): give the daemon's gRPC address"
    return ClientError("UNAVAILABLE" if status in {"429", "502", "503", "504"} else "UNKNOWN", text)


def no_answer(address: str, error: BaseException | None) -> ClientError:
    """Nobody answers there."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, ssl.SSLError):
        hint = "is it served in clear?" if error.reason == "WRONG_VERSION_NUMBER" else "see what tls= asks for"
        return ClientError("UNAVAILABLE", f"TLS with {address} failed: {error}; {hint}")
    reason = f": {error}" if error is not None and str(error) else ""
    return ClientError("UNAVAILABLE", f"no daemon answers at {address}{reason}; start one, or give its address")


class BarStreamPlan:
    """Where one stream of bars stands: what to ask for next, and how long to wait before asking."""

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
    ) -> None:
        for name, value in (("symbols", symbols), ("intervals", intervals)):
            if isinstance(value, str):
                # A ValueError like all that is wrong with an argument here.
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
        self._was_open = False
        self._failures = 0
        self._resumed = False
        self._told: dict[tuple[str, str], Message] = {}

    def request(self) -> pb.StreamBarsRequest:
        """The request that goes on where the stream was."""
        return self._request

    def opened(self, beginning: str) -> None:
        """The stream is open; ``beginning`` is the token in its initial metadata, empty if it has none."""
        self._was_open = True
        if beginning and not self._request.resume_token and not self._request.HasField("start_time"):
            self._request.resume_token = beginning

    def received(self, message: Message) -> bool:
        """Take note of a message; False if the user has it already."""
        self._failures = 0
        if message.resume_token:
            self._request.resume_token = message.resume_token
        if message.kind is not Kind.CLOSE and message.kind is not Kind.REVISION:
            return True
        assert message.bar is not None
        key = (message.bar.symbol, message.bar.interval)
        before = self._told.get(key)
        if self._resumed and before is not None and before.bar == message.bar:
            return False
        self._told[key] = message
        return True

    def failed(self, error: ClientError) -> float:
        """The stream broke: seconds to wait before asking again.

        Raises:
            ClientError: the same one, if asking again cannot help or is not wanted.
        """
        # What never worked is more likely a wrong address or certificate than a break: the user has to know.
        if not self._reconnect or not self._was_open or error.code not in _RETRIED:
            raise error
        self._resumed = True
        self._failures += 1
        delay: float = min(_DELAY_FIRST * 2 ** (self._failures - 1), _DELAY_MAX)
        return delay * random.uniform(0.5, 1)  # noqa: S311 - so that clients of a restarted daemon spread out
