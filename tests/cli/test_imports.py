"""What commands import: what they do not need makes each of them start later."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from candled.history import open_history

_WATCHED = {
    "attrs", "betterproto2", "click", "duckdb", "fsspec", "google", "grpclib", "h2", "httpcore", "hypercorn",
    "msgspec", "numpy", "prometheus_client", "pyarrow", "rich", "starlette", "structlog", "trio", "trio_asyncio",
    "trio_websocket", "websockets",
}  # fmt: skip
_PROGRAM = """
import json, sys
from candled.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (["--help"], {"click"}),
        (["--version"], {"click"}),
        (["bars", "--help"], {"attrs", "click"}),
        (["sql", "--help"], {"attrs", "click"}),
        (["status", "--help"], {"attrs", "click"}),
    ],
    ids=["help", "version", "bars", "sql", "status"],
)
def test_a_command_imports_little(arguments: list[str], allowed: set[str]) -> None:
    """Before a command does its work, no other package has been imported than those named here."""
    assert imported_by(*arguments) <= allowed


def test_reading_bars_imports_little(tmp_path: Path) -> None:
    """Bars are read from files by DuckDB: no NumPy, no Trio, no Arrow, no HTTP client."""

    async def make() -> None:
        async with open_history(tmp_path, exchange="x"):
            pass

    trio.run(make)
    imported = imported_by("bars", "BTCUSDT", "--limit", "3", "--data-dir", str(tmp_path))
    assert "duckdb" in imported
    assert imported <= {"attrs", "click", "duckdb", "fsspec", "msgspec"}


def imported_by(*arguments: str) -> set[str]:
    """Return those of the watched packages that a command imports."""
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *arguments], capture_output=True, text=True, check=True
    )
    return set(json.loads(ended.stderr.splitlines()[-1])) & _WATCHED
