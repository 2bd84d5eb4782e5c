"""candled, from a frame to an encoded update, as ``benchmarks.ingest`` measures it; in candled's environment."""

import trio

from benchmarks import ingest
from benchmarks.peers.tally import Tally, arguments, waits
from candled.telemetry.logging import configure_logging


class WaitingClock(ingest.Clock):
    """Counts, too, how often the process waits."""

    waits_before = waits = 0

    def begin(self) -> None:
        if self.begun is None:
            self.waits_before = waits()
        super().begin()

    def end(self) -> None:
        super().end()
        self.waits = waits() - self.waits_before


configure_logging("error", "console")
ingest.Clock = WaitingClock  # type: ignore[misc]
url, trades, warm, _ = arguments()
tally = Tally(trades, warm)
clock = trio.run(ingest.candled, url, trades, warm)
assert isinstance(clock, WaitingClock)
tally.cpu, tally.waits = clock.cpu, clock.waits
tally.seen = trades  # `candled` has asserted it; the engine takes no id twice and each symbol's without a gap
tally.publish()
