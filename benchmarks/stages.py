"""What each stage of a trade's way costs, from the socket to an encoded update.

usage: python -m benchmarks.stages [--trades N] [--rounds N] [--instructions] [--output FILE]

Each stage is run alone on what the stage before made of the same frames: in batches as one read of a busy socket
brings them, and with each frame alone. CPU time is the least of several rounds, all on warm caches, so the sum is
less than what ``benchmarks.ingest`` measures of the whole way, with its reads of a socket and task switches.

With ``--instructions`` the program runs under valgrind, which counts instructions instead of taking the time.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import trio
from websockets.client import ClientProtocol
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from benchmarks.canned_stream import messages, server_frame
from benchmarks.header import header, publish
from benchmarks.ingest import SYMBOLS, Clock, EncodingClient, NoHistory
from candled.domain.feed_event import DecimalsStated, FeedEvent
from candled.engine.engine import Engine
from candled.feed.binance.wire import decode_frames
from candled.feed.counts import FeedCounts
from candled.feed.intake import Intake
from candled.feed.transport.websockets_reader import WebsocketsFrames
from candled.stream.hub import Hub
from candled.stream.message import Message
from candled.stream.subscription import Selection

if TYPE_CHECKING:
    from candled.domain.event import BarEvent
    from candled.feed.adapter import Decoded

BATCHES: Final = {"a batch of 80": 80, "alone": 1}
"""Frames of one read: about as many as fit ``RECEIVE_BYTES``; and one."""
_SECONDS_A_TRADE: Final = 0.001
_COUNT_IN: Final = "CANDLED_STAGES_COUNT_IN"
"""Names the folder for valgrind's counts in the process that runs under it."""


class _Received(trio.abc.Stream):
    """A socket that always has the next read's bytes at hand."""

    def __init__(self, reads: Sequence[bytes]) -> None:
        self._reads = iter(reads)

    async def receive_some(self, _max_bytes: int | None = None) -> bytes:
        return next(self._reads)

    async def send_all(self, _data: Any) -> None: ...

    async def wait_send_all_might_not_block(self) -> None: ...

    async def aclose(self) -> None: ...


class _Queue:
    """Takes the events of the intake."""

    def __init__(self) -> None:
        self.events: list[FeedEvent] = []

    def send_nowait(self, event: FeedEvent) -> None:
        self.events.append(event)


class _Sink:
    """A subscriber that keeps up and does nothing."""

    def send_now(self, _messages: Sequence[Message]) -> bool:
        return True

    def wake(self) -> None: ...


class Way:
    """The stages in order; each takes what the one before it made."""

    def __init__(self, trades: int, frames_at_once: int) -> None:
        frames = [server_frame(message) for message in messages(trades, 1)]
        parts = range(0, trades, frames_at_once)
        self._reads = [b"".join(frames[begin : begin + frames_at_once]) for begin in parts]
        self._texts: list[list[str | bytes]] = []
        self._decoded: list[Decoded] = []
        self._feed_events: list[FeedEvent] = []
        self._bar_events: list[list[BarEvent]] = []
        self._messages: list[Message] = []

    def stages(self) -> dict[str, Callable[[], object]]:
        """What to measure, by name, in the order in which it must run."""
        return {
            "websocket frames": self.split,
            "decode": self.decode,
            "intake": self.take,
            "engine": self.aggregate,
            "hub": self.publish,
            "encode": self.encode,
        }

    def split(self) -> None:
        """Messages of bytes."""
        protocol = ClientProtocol(parse_uri("ws://127.0.0.1/"), state=OPEN)
        frames, texts = WebsocketsFrames(_Received(self._reads), protocol), list[list[str | bytes]]()

        async def read() -> None:
            texts.extend([await frames.receive() for _ in self._reads])

        try:
            read().send(None)  # it never waits
        except StopIteration:
            self._texts = texts

    def decode(self) -> None:
        """Trades of messages."""
        self._decoded = [decode_frames(texts) for texts in self._texts]

    def take(self) -> None:
        """The feed's events of trades."""
        intake, queue = Intake(FeedCounts(), SYMBOLS.__contains__), _Queue()
        for number, decoded in enumerate(self._decoded):
            intake.take(decoded, self._at(number), queue)  # type: ignore[arg-type]
        self._feed_events = queue.events

    def aggregate(self) -> None:
        """Bar events of the feed's."""
        engine = Engine(SYMBOLS, wanted=lambda _symbol: frozenset({"1m"}))
        for symbol in SYMBOLS:
            engine.handle(DecimalsStated(symbol, 2, 6), 0.0)
        made = []
        for number, event in enumerate(self._feed_events):
            now = self._at(number)
            made.append(engine.handle(event, now))
            engine.take_minutes_needed()
            engine.seconds_to_next_close(now)
        self._bar_events = made

    def publish(self) -> None:
        """Messages of bar events, offered to one subscriber."""
        hub = _hub(_Sink())
        for events in self._bar_events:
            if events:
                hub.publish(events)

    def encode(self) -> None:
        """The same with a subscriber that encodes them."""
        clock = Clock()
        clock.begin()
        hub = _hub(EncodingClient(sys.maxsize, clock))
        for events in self._bar_events:
            if events:
                hub.publish(events)

    def _at(self, number: int) -> float:
        """When a read took place, as the trades' own times have it."""
        return 100.0 + number * len(self._texts[0]) * _SECONDS_A_TRADE * 20


def _hub(outlet: Any) -> Hub:
    hub = Hub(clock=time.perf_counter, snapshot=lambda _s, _i: None, symbols=lambda: SYMBOLS, stored=NoHistory())
    subscription = hub.subscribe(Selection(), outlet)
    hub.go_live(subscription)
    subscription.take(0.0, 1)  # nothing waits: from here on it is sent at once
    return hub


def cpu_time(stage: Callable[[], object], rounds: int) -> float:
    """CPU microseconds of a stage: the least of some rounds."""
    taken = []
    for _ in range(rounds):
        begun = time.process_time()
        stage()
        taken.append(time.process_time() - begun)
    return min(taken) * 1e6


def instructions(stage: Callable[[], object], folder: Path) -> float:
    """Thousands of instructions of a stage, in a process that runs under valgrind."""
    stage()  # caches of the interpreter and of the program
    _control("--zero")
    _control("--instr=on")
    stage()
    _control("--instr=off")
    _control("--dump=stage")
    newest = max(folder.glob("count.*"), key=lambda path: path.stat().st_mtime_ns)
    found = re.search(r"^totals: (\d+)", newest.read_text(), re.MULTILINE)
    assert found is not None
    newest.unlink()
    return int(found[1]) / 1e3


def _control(action: str) -> None:
    subprocess.run(["callgrind_control", action, str(os.getpid())], check=True, stdout=subprocess.DEVNULL)


def _run_under_valgrind() -> int:
    with TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/count"]
        program = [sys.executable, "-m", "benchmarks.stages", *sys.argv[1:]]
        environment = {**os.environ, _COUNT_IN: folder, "PYTHONHASHSEED": "0"}
        return subprocess.run(
            [*command, *program], env=environment, check=False, stderr=subprocess.DEVNULL
        ).returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--trades", type=int, default=None, help="by default 20000, or 800 of which instructions are counted"
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--instructions", action="store_true", help="count instructions, under valgrind")
    parser.add_argument("--output", type=Path, help="also append the result to this file")
    options = parser.parse_args()
    folder = os.environ.get(_COUNT_IN)
    if options.instructions and folder is None:
        sys.exit(_run_under_valgrind())
    trades = options.trades or (800 if options.instructions else 20_000)
    figures: dict[str, list[float]] = {}
    for frames_at_once in BATCHES.values():
        for name, stage in Way(trades, frames_at_once).stages().items():
            taken = cpu_time(stage, options.rounds) if folder is None else instructions(stage, Path(folder))
            figures.setdefault(name, []).append(taken / trades)
    text = report(figures, "CPU us" if folder is None else "k instructions")
    publish(text, options.output)


def report(figures: dict[str, list[float]], unit: str) -> str:
    """The header and the table."""
    encoded, published = figures["encode"], figures["hub"]
    figures["encode"] = [whole - part for whole, part in zip(encoded, published, strict=True)]
    lines = [*header("stages"), "", f"{unit + ' a trade':24}" + "".join(f"{name:>16}" for name in BATCHES)]
    lines += [f"{name:24}" + "".join(f"{value:>16.2f}" for value in values) for name, values in figures.items()]
    sums = [sum(column) for column in zip(*figures.values(), strict=True)]
    lines.append(f"{'sum':24}" + "".join(f"{value:>16.2f}" for value in sums))
    return "\n".join([*lines, "", ""])


if __name__ == "__main__":
    main()
