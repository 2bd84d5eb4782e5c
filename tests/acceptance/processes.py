"""Real processes of candled, as a user starts them, watched by what they print."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import trio

CANDLED: Final = (sys.executable, "-m", "candled.cli.main")
ENVIRONMENT: Final = {name: value for name, value in os.environ.items() if not name.startswith("CANDLED_")}
PATIENCE: Final = 60.0
"""Seconds for anything that a process is waited for; a busy machine starts a Python slowly."""


@attrs.define(eq=False)
class Running:
    """A process, and every line that it has printed so far."""

    process: trio.Process
    lines: list[str] = attrs.Factory(list)
    changed: trio.Event = attrs.Factory(trio.Event)

    @property
    def text(self) -> str:
        """All that it printed."""
        return "\n".join(self.lines)

    async def said(self, pattern: str, after: int = 0) -> re.Match[str]:
        """The first line after the first ``after`` ones that matches; fails if the process ends without it."""
        with trio.fail_after(PATIENCE):
            while True:
                for line in self.lines[after:]:
                    if match := re.search(pattern, line):
                        return match
                assert self.process.returncode is None, f"ended without saying {pattern!r}:\n{self.text}"
                await self.changed.wait()

    async def ended(self) -> int:
        """Its exit status, and all that it printed is in ``lines``."""
        with trio.fail_after(PATIENCE):
            status = await self.process.wait()
            while not self._drained:
                await self.changed.wait()
        return status

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; its exit status."""
        self.process.send_signal(number)
        return await self.ended()

    _open: int = 2

    @property
    def _drained(self) -> bool:
        return self._open == 0

    async def _read(self, stream: trio.abc.ReceiveStream) -> None:
        rest = b""
        async for chunk in stream:
            *lines, rest = (rest + chunk).split(b"\n")
            self.lines += [line.decode("utf-8", "replace") for line in lines]
            self._change()
        if rest:
            self.lines.append(rest.decode("utf-8", "replace"))
        self._open -= 1
        self._change()

    def _change(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


@asynccontextmanager
async def open_candled(
    *arguments: object, cwd: Path | None = None, before: Sequence[str] = ()
) -> AsyncIterator[Running]:
    """``candled ARGUMENTS`` while inside, run by the command ``before``; killed at the end if it still runs."""
    process = await trio.lowlevel.open_process(
        [*before, *CANDLED, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        cwd=cwd,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    running = Running(process)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(running._read, process.stdout)
        nursery.start_soon(running._read, process.stderr)
        try:
            yield running
        finally:
            if process.returncode is None:
                process.kill()
            with trio.CancelScope(shield=True), trio.move_on_after(10):
                await process.wait()
            print(f"--- candled {' '.join(map(str, arguments))}\n{running.text}")  # pytest shows it with a failure


@attrs.frozen
class RunningExchange:
    """An embedded exchange and where it is."""

    running: Running | None
    address: str

    @property
    def rest(self) -> str:
        return f"http://{self.address}"

    @property
    def options(self) -> tuple[str, ...]:
        """Options that make a daemon use it."""
        return (f"--stream-urls=ws://{self.address}", f"--rest-urls=http://{self.address}")


@asynccontextmanager
async def open_exchange(
    *options: object, address: str = "127.0.0.1:0", before: Sequence[str] = ()
) -> AsyncIterator[RunningExchange]:
    """``candled exchange`` while inside."""
    async with open_candled("exchange", "--address", address, *options, before=before) as running:
        found = await running.said(r"streams at ws://(\S+),")
        yield RunningExchange(running, found[1])


@attrs.frozen
class RunningDaemon:
    """A daemon and where it is."""

    running: Running
    grpc: str
    http: str
    data_dir: Path

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it by a signal; its exit status."""
        return await self.running.stop(number)


def daemon_options(exchange: RunningExchange, data_dir: Path) -> tuple[str, ...]:
    """Command-line options of a test's daemon."""
    return (
        *exchange.options, f"--data-dir={data_dir}", "--grpc-address=127.0.0.1:0", "--http-address=127.0.0.1:0",
        "--log-format=json",
    )  # fmt: skip


@asynccontextmanager
async def open_daemon(exchange: RunningExchange, data_dir: Path, *options: object) -> AsyncIterator[RunningDaemon]:
    """``candled run`` while inside, once it serves."""
    async with open_candled("run", *daemon_options(exchange, data_dir), *options) as running:
        found = await running.said(r'"grpc": "(?P<grpc>[^"]+)", "http": "(?P<http>[^"]+)"')
        yield RunningDaemon(running, found["grpc"], found["http"], data_dir)


async def run_candled(
    *arguments: object, cwd: Path | None = None, before: Sequence[str] = ()
) -> "subprocess.CompletedProcess[str]":
    """``candled ARGUMENTS`` to its end, run by the command ``before``."""
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(
            [*before, *CANDLED, *map(str, arguments)],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=ENVIRONMENT,
            cwd=cwd,
        )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def one_sentence(text: str) -> str:
    """What a command said of a user's mistake: one line, no traceback."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("{")]
    assert len(lines) == 1, text
    assert "Traceback" not in text, text
    return lines[0]


def official(row: list[Any]) -> dict[str, Any]:
    """The nine fields of an exchange's kline, in REST form, and its open time in seconds."""
    return dict(zip(NINE, (row[1], row[2], row[3], row[4], row[5], row[7], row[8], row[9], row[10]), strict=True))


NINE: Final = (
    "open", "high", "low", "close", "volume", "quote_volume", "trade_count", "taker_buy_volume",
    "taker_buy_quote_volume",
)  # fmt: skip
