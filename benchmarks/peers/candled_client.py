"""candled, from a frame to an encoded update, as ``benchmarks.ingest`` measures it; in candled's environment."""

import trio

from benchmarks.ingest import candled
from benchmarks.peers.tally import Tally, arguments
from candled.telemetry.logging import configure_logging

configure_logging("error", "console")
url, trades, warm, _ = arguments()
tally = Tally(trades, warm)
tally.cpu = trio.run(candled, url, trades, warm).cpu
tally.seen = trades  # `candled` has asserted it; the engine takes no id twice and each symbol's without a gap
tally.publish()
