"""The example in examples/, run as written against a demo."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.cli.demo import demo, until

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_example_runs(tmp_path: Path) -> None:
    """The example makes a frame, appends live rows and draws a plot."""
    libraries = os.environ.get("CANDLED_EXAMPLES_PATH")
    if libraries is None:
        pytest.skip("no polars and matplotlib: `make examples-test` installs them and sets CANDLED_EXAMPLES_PATH")
    with demo(tmp_path, "--speed", "60", "--data-dir", "bars") as daemon:
        until(lambda: len(httpx.get(f"http://{daemon.http}/api/bars?symbol=BTCUSDT").json()["bars"]) >= 3)
        until(lambda: list((tmp_path / "bars").rglob("*.parquet")))
        done = subprocess.run(
            [sys.executable, ROOT / "examples" / "candles_to_frame.py", "bars", daemon.grpc],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": libraries},
            capture_output=True,
            text=True,
            timeout=40,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert "candles.png: " in done.stdout
    assert (tmp_path / "candles.png").read_bytes().startswith(b"\x89PNG")
