"""Whether what the bus acknowledges survives a loss of power, as its servers' monitoring says.

NATS does not say it over its own protocol. A server that syncs now and then loses acknowledged bars with its
power, and resume tokens with them: too much to find out afterwards.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog
import trio

from candled.bus.nats.monitoring import MonitorError, Sync, fetch_sync
from candled.errors import UserError

AGAIN_SECONDS: Final = 60.0
"""Between two questions to servers that have not answered."""
UNCHECKED: Final = (
    "Nobody checks whether the NATS servers write each entry to disk before they acknowledge it "
    "(sync_interval: always): name their monitoring with --bus-monitor-urls http://host:8222."
)
_log = structlog.get_logger(__name__)


class SyncCheck:
    """What is known of the servers.

    Args:
        urls: base URL of each server's monitoring.
        fetch: asks one.
    """

    def __init__(self, urls: Sequence[str], fetch: Callable[[str], Awaitable[Sync]] = fetch_sync) -> None:
        self._urls = urls
        self._fetch = fetch
        self._found: dict[str, str] = {}
        """What is wrong with a server, in a sentence; empty: nothing."""

    def notices(self) -> tuple[str, ...]:
        """Return what an operator should know."""
        return tuple(notice for notice in self._found.values() if notice) if self._urls else (UNCHECKED,)

    async def begin(self) -> None:
        """Ask all servers once.

        Raises:
            UserError: one of them does not sync always.
        """
        if not self._urls:
            _log.warning("sync of the bus not checked", reason=UNCHECKED)
            return
        unsafe = await self._ask()
        if unsafe:
            raise UserError(unsafe)

    async def run(self) -> None:
        """Ask those that have not answered yet, until all have."""
        while any(self._found.get(url, UNCHECKED) for url in self._urls):
            await trio.sleep(AGAIN_SECONDS)
            unsafe = await self._ask()
            if unsafe:
                _log.error("bus not safe", reason=unsafe)

    async def _ask(self) -> str:
        """Ask the servers that are not known to be safe; return what the first one that is not does wrong."""
        wrong = ""
        for url in self._urls:
            if self._found.get(url) == "":
                continue
            try:
                sync = await self._fetch(url)
            except MonitorError as error:
                self._found[url] = f"The NATS server at {url} does not say how it syncs: {str(error).rstrip('.')}."
                _log.warning("sync of the bus not checked", url=url, reason=str(error))
                continue
            self._found[url] = "" if sync.is_always else _unsafe(url, sync)
            wrong = wrong or self._found[url]
        return wrong


def _unsafe(url: str, sync: Sync) -> str:
    return (
        f"The NATS server at {url} acknowledges entries up to {sync.seconds:g} s before it writes them to disk, "
        "and a loss of power takes them: set `sync_interval: always` in its `jetstream` block."
    )
