"""``python -m benchmarks.cluster_kills --kills 200``: processes of a cluster die all the while under load.

Two ingesters, two edges and three nats-servers run on the embedded exchange, which runs faster than real time. One
of them after the other is killed (mostly by SIGKILL, also by SIGTERM), stopped and continued, or cut off from the
network, by a seed. Subscribers follow with the Python clients, which know all edges. At the end each subscriber's
bars, folded by newest revision, must equal the exchange's ledger in nine fields and be complete; revisions and
forming bars must have risen, nothing may have come twice, and all subscribers must have got the same bars with the
same tokens. The longest silence of a subscriber around each fault is measured, and how long the measuring process
itself got no processor meanwhile. Prints a record in Markdown; exit status 1 if anything is not so.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import trio

from benchmarks.soak import has_traceback
from tests.bus.faults import NOTHING, Fault, Trial, open_trial, plan_faults
from tests.bus.real_cluster import open_cluster

SILENCE_SECONDS_MAX: Final = 1.0
"""That a subscriber may see no message; a longer one is listed."""


async def run(options: argparse.Namespace, directory: Path) -> Trial:
    """Cause the faults; returns what was seen."""
    names = options.members.split(",") if options.members else None
    async with (
        open_cluster(directory, servers=3, speed=options.speed, rate=options.rate) as cluster,
        open_trial(cluster) as trial,
    ):
        plan = plan_faults(names or list(cluster.members), options.kills, options.seed)
        await trial.run(plan, options.seed, lambda fault: print(fault, file=sys.stderr, flush=True))
    return trial


def record(trial: Trial, minutes: float) -> str:
    """All of it, in Markdown."""
    long = [f"- {fault}" for fault in trial.faults if fault.silence > SILENCE_SECONDS_MAX]
    caused = [fault for fault in trial.faults if fault.kind != NOTHING]
    labels = [*sorted({fault.label for fault in caused}), NOTHING]
    rows = [_row(label, [fault for fault in trial.faults if fault.label == label]) for label in labels]
    return f"""# Kills of a cluster

{datetime.now(UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, {os.cpu_count()} shared cores, Python \
{platform.python_version()}, load {os.getloadavg()[2]:.1f} over the last quarter of an hour

`python -m benchmarks.cluster_kills {" ".join(sys.argv[1:])}`

- {len(caused)} faults in {minutes:.0f} minutes; {len(trial.subscribers)} subscribers, {trial.messages} messages.
- {trial.bars} bars compared with the exchange's ledger.
- Wrong: {"; ".join(trial.wrong[:20]) or "nothing"}.

Longest silence of a subscriber around each fault, in ms, and how long the measuring process itself got no
processor, which is the machine's part in it; `no fault` is what machine and market do by themselves:

| fault | times | median | 90 % | longest | machine, longest |
|---|---|---|---|---|---|
{chr(10).join(row for row in rows if row)}

Above {SILENCE_SECONDS_MAX:g} s:

{chr(10).join(long) or "none"}
"""


def _row(label: str, faults: Sequence[Fault]) -> str:
    """One kind of fault."""
    if not faults:
        return ""
    silences = sorted(fault.silence * 1000 for fault in faults)
    tenth = silences[min(len(silences) - 1, len(silences) * 9 // 10)]
    return (
        f"| {label} | {len(faults)} | {statistics.median(silences):.0f} | {tenth:.0f} | {silences[-1]:.0f} "
        f"| {max(fault.stall for fault in faults) * 1000:.0f} |"
    )


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster_kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="faults to cause")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--members", default="", help="that are hit, such as edge-0,nats-1; all by default")
    parser.add_argument("--speed", type=float, default=20.0, help="seconds of the market in one")
    parser.add_argument("--rate", type=float, default=2.0, help="multiplies the trades of the market")
    parser.add_argument("--keep", type=Path, help="directory to leave the logs in")
    parser.add_argument("--record", type=Path, help="file to write the record to as well")
    options = parser.parse_args()
    begun = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.keep or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        trial = trio.run(run, options, directory)
        trial.wrong += [f"Traceback in {path.name}" for path in directory.glob("*.log") if has_traceback(path)]
    text = record(trial, (datetime.now(UTC) - begun).total_seconds() / 60)
    print(text)
    if options.record is not None:
        options.record.write_text(text)
    return bool(trial.wrong)


if __name__ == "__main__":
    sys.exit(main())
