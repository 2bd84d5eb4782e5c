"""kill -9 at every step of an upload and of a restore, on a real S3 server."""

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from candled.domain.interval import MINUTE
from candled.domain.numbers import to_decimal
from candled.history import connect
from candled.history.objects.keys import parse_key
from candled.history.objects.restoring import list_files
from candled.history.objects.upload_plan import UploadPlan
from candled.history.objects.verifying import is_whole
from tests.acceptance.s3_server import KEYS, Link, bucket_at, open_link
from tests.history.bars import START
from tests.history.objects import writing_process
from tests.history.objects.writing_process import STEP, Life

BARS_A_LIFE: Final = 24
_TRIES: Final = 12
"""Lives after which a step should have been reached."""
_PATIENCE: Final = 300.0
_FIELDS: Final = ("open", "close", "volume", "quote_volume")


@attrs.frozen
class Step:
    """A moment at which a process is killed; see ``Life``."""

    moment: str
    what: str = ""
    where: str = ""
    on_a_new_volume: bool = False
    """Whether only a restore takes this step."""

    def __str__(self) -> str:
        return f"{self.moment} {self.what} {self.where}".strip()


ANY_TIME: Final = Step("at any time, the store failing on and off")
STEPS: Final = (
    *(Step(moment, "put", "candled.json") for moment in ("before", "in", "after")),
    *(Step(moment, "put", "writers/") for moment in ("before", "in", "after")),
    *(Step(moment, "list", "writers") for moment in ("before", "after")),
    *(Step(moment, "put", "recent/") for moment in ("before", "in", "after")),
    *(Step(moment, "put", "bars/") for moment in ("before", "in", "after")),
    *(Step(moment, "delete", "recent/") for moment in ("before", "after")),
    *(Step(moment, "delete", "bars/") for moment in ("before", "after")),
    *(Step(moment, "delete", "writers/") for moment in ("before", "after")),
    *(Step(moment, "get", "recent/", on_a_new_volume=True) for moment in ("before", "after")),
    *(Step(moment, "get", "bars/", on_a_new_volume=True) for moment in ("before", "after")),
    Step("before", "get", "candled.json", on_a_new_volume=True),
    Step("after", "list", "recent"),
    Step("after", "list", "bars"),
    *([ANY_TIME] * 4),
)
"""One round: what an upload does, in order, then what a restore does, then no step in particular."""


Rows = dict[tuple[str, int], Any]
"""All columns of minutes, by symbol and open time in seconds."""


def read_minutes(source: Path | str, address: str = "", cache_dir: Path | None = None) -> Rows:
    """Every 1-minute bar of a history."""
    with connect(source, endpoint=f"http://{address}", cache_dir=cache_dir) as connection:
        found = connection.execute("SELECT epoch(open_time)::BIGINT, * FROM bars WHERE interval = '1m'").fetchall()
        columns = [column[0] for column in connection.description or ()][1:]
    rows = {(row[1], row[0]): dict(zip(columns, row[1:], strict=True)) for row in found}
    assert len(rows) == len(found), "a bar stands in two files"
    return rows


@attrs.define
class Round:
    """One history, written by processes that are killed step by step; half of the volumes are lost with them."""

    server: str
    folder: Path
    prefix: str
    rng: random.Random
    killed: Counter[str] = attrs.Factory(Counter)
    lives: int = 0
    bars: int = 0
    _volume: int = 0
    _seen: Rows = attrs.Factory(dict)

    async def run(self, steps: Sequence[Step] = STEPS) -> None:
        """Kill a process at each step, and compare after each; then let one live to its end.

        A reader sees whole objects at any time, every bar up to the newest one, every field as it was stored, and
        never fewer bars or older revisions. In the end the store has each bar once, in its newest revision.

        Raises:
            AssertionError: it is not so.
        """
        async with open_link(self.server) as link, _open_lives() as lives:
            for step in steps:
                await self._kill_at(step, link, lives)
            link.fault, link.stalled = "", b""
            status, words = await lives.run(self._next_life(link))
            assert (status, words[-1]) == (0, "done")
        await self._compare()
        plan = UploadPlan(grace=0.0)
        plan.listed(0.0, list_files(bucket_at(self.server, self.prefix)))
        assert plan.deletions(0.0) == [], "superseded ones are deleted"
        self._compare_with_what_was_stored()

    @property
    def _data_dir(self) -> Path:
        return self.folder / f"volume-{self._volume}"

    def _next_life(self, link: Link) -> Life:
        self.lives += 1
        self.bars += BARS_A_LIFE
        return Life(str(self._data_dir), f"s3://candled-test/{self.prefix}", f"http://{link.address}", self.bars)

    async def _kill_at(self, step: Step, link: Link, lives: "_Lives") -> None:
        for attempt in range(_TRIES):
            self._volume += step.on_a_new_volume or self.rng.random() < 0.4
            life = self._next_life(link)
            if step is ANY_TIME:
                link.stalled = b""
                status = await self._kill_any_time(life, link, lives)
            else:
                stalled = f"PUT /candled-test/{self.prefix}/{step.where}" if step.moment == "in" else ""
                link.stalled = stalled.encode()
                # What the store has is not put again, and the link stalls the first request of its kind.
                is_only_one = step.where == "candled.json" or bool(stalled)
                number = self.rng.choice((1, 2)) if attempt == 0 and not is_only_one else 1
                status, _ = await lives.run(
                    attrs.evolve(life, moment=step.moment, what=step.what, where=step.where, number=number)
                )
            assert status in (0, -signal.SIGKILL), f"a process ended with status {status}"
            await self._compare()
            if status != 0:
                self.killed[str(step)] += 1
                return
        raise AssertionError(f"no process came to this step: {step}")

    async def _kill_any_time(self, life: Life, link: Link, lives: "_Lives") -> int:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_change_faults, link, self.rng)
            status, _ = await lives.run(life, kill_after=self.rng.uniform(0.05, 1.5))
            nursery.cancel_scope.cancel()
        link.fault = ""
        return status

    async def _compare(self) -> None:
        await trio.to_thread.run_sync(self._compare_with_what_was_read)

    def _compare_with_what_was_read(self) -> None:
        bucket = bucket_at(self.server, self.prefix)
        for each in bucket.list():
            file = parse_key(each.key)
            if file is not None:
                content = bucket.get(each.key)
                assert content is not None
                assert is_whole(file, content), f"{each.key} is not whole"
        if bucket.get("candled.json") is None:
            assert not self._seen
            return
        rows = read_minutes(f"s3://candled-test/{self.prefix}", self.server, self.folder / "cache")
        for key, row in self._seen.items():
            assert rows[key]["revision"] >= row["revision"], "a bar went back"
        newest = max((open_time for _, open_time in rows), default=0)
        count = (newest * 1_000_000 - START) // (STEP * MINUTE) + 1 if rows else 0
        assert len(rows) == count, "there is a hole before the newest bar"
        self._seen = rows

    def _compare_with_what_was_stored(self) -> None:
        assert read_minutes(self._data_dir) == self._seen
        for number, key in enumerate(sorted(self._seen)):
            found, last = self._seen[key], self.bars - 1
            revised = writing_process.is_revised_at(number, last)
            wanted = writing_process.revised(number) if revised else writing_process.bar(number)
            assert [found[name] for name in _FIELDS] == [to_decimal(getattr(wanted, name)) for name in _FIELDS]
            assert (found["revision"], found["first_trade_id"]) == (wanted.revision, wanted.first_trade_id)
        assert len(self._seen) == self.bars


class _Lives:
    """The process that lives one life after the other."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout
        self._rest = b""

    async def run(self, life: Life, kill_after: float | None = None) -> tuple[int, list[str]]:
        """Live one life, killed some seconds after it is open or at its own step; its exit status and words."""
        await self._stdin.send_all(f"{json.dumps(attrs.asdict(life))}\n".encode())
        words: list[str] = []
        with trio.fail_after(_PATIENCE):
            async with trio.open_nursery() as nursery:
                while True:
                    word, _, number = (await self._line()).partition(" ")
                    if word == "ended":
                        nursery.cancel_scope.cancel()
                        return int(number), words
                    words.append(word)
                    if word == "open" and kill_after is not None:
                        nursery.start_soon(_kill_later, int(number), kill_after)

    async def _line(self) -> str:
        while b"\n" not in self._rest:
            chunk = await self._stdout.receive_some()
            assert chunk, "the process of all lives ended"
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()


@asynccontextmanager
async def _open_lives() -> AsyncIterator[_Lives]:
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.history.objects.writing_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **KEYS},
        cwd=Path(__file__).parents[3],
    )
    try:
        yield _Lives(process)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def _kill_later(process: int, seconds: float) -> None:
    await trio.sleep(seconds)
    os.kill(process, signal.SIGKILL)


async def _change_faults(link: Link, rng: random.Random) -> None:
    """Another fault, or none, several times a second."""
    faults = partial(rng.choice, ["", "", "", "away", "busy", "cut", "slow", "full"])
    while True:
        await trio.sleep(rng.uniform(0.1, 0.6))
        link.fault = faults()
