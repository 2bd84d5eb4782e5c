"""What nats-servers say of themselves over HTTP: whether each acknowledged entry is on their disks."""

from typing import Final

import attrs
import httpcore
import msgspec

ANSWER_SECONDS: Final = 3.0
_NANOSECONDS: Final = 1_000_000_000


class MonitorError(Exception):
    """A server's monitoring does not say it; the text says why."""


@attrs.frozen(slots=True)
class Sync:
    """When a server writes to its disk what it has acknowledged."""

    is_always: bool
    """Before it acknowledges."""
    seconds: float
    """How often otherwise: what a loss of power takes."""


class _Config(msgspec.Struct):
    sync_always: bool = False
    sync_interval: int = 0


class _JetStream(msgspec.Struct):
    config: _Config | None = None


class _Answer(msgspec.Struct):
    jetstream: _JetStream


_decoder: Final = msgspec.json.Decoder(_Answer)


async def fetch_sync(url: str) -> Sync:
    """Ask a server's monitoring.

    Args:
        url: its base URL, such as ``http://host:8222``.

    Raises:
        MonitorError: no answer, or it says nothing of JetStream.
    """
    timeouts = dict.fromkeys(("connect", "read", "write", "pool"), ANSWER_SECONDS)
    try:
        async with httpcore.AsyncConnectionPool() as pool:
            answer = await pool.request("GET", f"{url.rstrip('/')}/varz", extensions={"timeout": timeouts})
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
        raise MonitorError(str(error) or type(error).__name__) from None
    return read_sync(answer.status, answer.content)


def read_sync(status: int, body: bytes) -> Sync:
    """Read the answer of ``/varz``.

    Raises:
        MonitorError: it says nothing of JetStream.
    """
    if status != 200:
        raise MonitorError(f"it answers with HTTP status {status}")
    try:
        config = _decoder.decode(body).jetstream.config
    except msgspec.DecodeError as error:
        raise MonitorError(f"it is not the monitoring of a nats-server: {error}") from None
    if config is None:
        raise MonitorError("JetStream is off there")
    return Sync(config.sync_always, config.sync_interval / _NANOSECONDS)
