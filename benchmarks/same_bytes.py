"""What clients are sent, byte for byte, beside another version of candled on the same trades.

usage: python -m benchmarks.same_bytes TREE [--minutes N] [--seeds N]

TREE is a checkout of the other version, such as a ``git worktree``. In each version a daemon of role ``all``, but
for its ports and its disk, reads the embedded exchange, which loses trades and cuts connections, on a clock that
jumps; a seed decides everything. Streams are recorded as they leave for the transport, in the form of gRPC and in
that of the chart: all intervals, closed bars alone, conflated updates, and a resume from the middle of the time.
The order of messages counts, too. What differs by nature is left out: the time of sending and the number within a
stream. Exit status 1 if a byte differs.
"""

import argparse
import hashlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio

_HERE: Final = Path(__file__).parents[1]
_FAULTS: Final = "lose=0.02,cut=7m"
_HASH_SEED: Final = "1"


class Recording:
    """Takes every message of a stream at once, and sums up its bytes."""

    has_own = False

    def __init__(self) -> None:
        self._sum = hashlib.sha256()
        self.bytes = 0
        self.kinds: Counter[str] = Counter()
        self.has_caught_up = trio.Event()
        self._news = trio.Event()

    def send_now(self, messages: Sequence[object]) -> bool:
        """Take them all."""
        from candled.stream.grpc.encoder import encode_shared
        from candled.stream.message import Message
        from candled.stream.web.forms import message_form

        for message in messages:
            assert isinstance(message, Message)
            data = encode_shared(message)
            if message.bar is not None:  # else it is a heartbeat, which the chart does not get
                data += repr(message_form(message)).encode()
            self._sum.update(len(data).to_bytes(4, "big") + data)
            self.bytes += len(data)
            self.kinds[message.kind.name] += 1
        return True

    def wake(self) -> None:
        """End a wait."""
        self._news.set()

    async def wait(self, seconds: float) -> None:
        """Wait for more, as everything until now has come."""
        self.has_caught_up.set()
        with trio.move_on_after(seconds):
            await self._news.wait()
        self._news = trio.Event()

    def __str__(self) -> str:
        kinds = " ".join(f"{name.lower()}={count}" for name, count in sorted(self.kinds.items()))
        return f"{self._sum.hexdigest()} bytes={self.bytes} {kinds}"


async def record(minutes: int, rate: float) -> list[str]:
    """One day's beginning; a line for each stream."""
    from candled.domain.interval import INTERVALS
    from candled.stream.resume import LivePoint
    from candled.stream.session import open_session
    from candled.stream.subscription import Selection
    from tests.memory_daemon import make_exchange, open_daemon_on

    streams = {
        "all intervals": Selection(intervals=frozenset(INTERVALS)),
        "closed bars": Selection(intervals=frozenset({"1m", "3m", "5m"}), closed_only=True),
        "an update in two seconds": Selection(symbols=frozenset({"BTCUSDT"}), updates_per_second=0.5),
        "resume": Selection(),
    }
    recordings = {name: Recording() for name in streams}
    async with open_daemon_on(make_exchange(rate=rate, faults=_FAULTS)) as daemon, trio.open_nursery() as nursery:

        async def follow(name: str, begin: LivePoint | None) -> None:
            with open_session(
                daemon.hub, daemon.history, streams[name], recordings[name], begin=begin, clock=trio.current_time
            ) as session:
                async for messages in session:
                    recordings[name].send_now(messages)

        for name in streams:
            if name != "resume":
                nursery.start_soon(follow, name, None)
        await trio.sleep(minutes * 30)
        middle = daemon.hub.position
        await trio.sleep(minutes * 30)
        nursery.start_soon(follow, "resume", LivePoint.after(middle))
        await recordings["resume"].has_caught_up.wait()
        nursery.cancel_scope.cancel()
    return [f"{name}: {recording}" for name, recording in recordings.items()]


def run_in(tree: Path, minutes: int, seed: int) -> list[str]:
    """Record in another tree, with this version's Python and packages."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), "--record", str(seed), "--minutes", str(minutes)],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "PYTHONHASHSEED": _HASH_SEED},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{tree}:\n{done.stderr[-3000:]}")
    return done.stdout.splitlines()


def main() -> int:
    """Record, or compare what two versions record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.same_bytes", description=__doc__)
    parser.add_argument("tree", nargs="?", type=Path)
    parser.add_argument("--minutes", type=int, default=40, help="of the market, for each seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--record", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.record is not None:
        from candled.telemetry.logging import configure_logging
        from tests.simulation.deterministic import run_deterministically

        configure_logging("error", "console")
        rate = 0.1 + options.record % 3 / 10
        print("\n".join(run_deterministically(record, options.minutes, rate, seed=options.record)))
        return 0
    if options.tree is None:
        parser.error("name a checkout of the other version")
    from benchmarks.header import header

    print("\n".join(header("same_bytes")))
    differ = 0
    for seed in range(1, options.seeds + 1):
        ours, theirs = run_in(_HERE, options.minutes, seed), run_in(options.tree.resolve(), options.minutes, seed)
        for mine, other in zip(ours, theirs, strict=True):
            differ += mine != other
            print(f"seed {seed}: {mine}" if mine == other else f"seed {seed}: DIFFERS\n  {mine}\n  {other}")
    print("every byte is the same" if not differ else f"{differ} streams differ")
    return bool(differ)


if __name__ == "__main__":
    sys.exit(main())
