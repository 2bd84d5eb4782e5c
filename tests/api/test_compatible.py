"""The .proto lints clean under buf, and a change that would break clients of the released one fails."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.locks import alone_in

PROTOS = Path(__file__).parents[2] / "protos"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def buf() -> Path:
    binary = PROTOS / "buf" / "node_modules" / ".bin" / "buf"
    with alone_in(PROTOS / "buf"):
        if not binary.exists():
            if shutil.which("npm") is None:
                pytest.skip("npm is not installed: it brings buf")
            # Not `npm ci`: the lock may lack the binaries of platforms other than the one it was made on.
            install = ["npm", "install", "--no-save", "--silent", "--no-audit", "--no-fund"]
            subprocess.run(install, cwd=PROTOS / "buf", check=True, timeout=200)
    return binary


def run(buf: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([buf, *arguments], cwd=folder, capture_output=True, text=True, timeout=60)


def test_the_proto_lints_clean(buf: Path) -> None:
    result = run(buf, PROTOS, "lint")
    assert (result.returncode, result.stdout) == (0, "")


def test_released_clients_keep_working(buf: Path) -> None:
    """No change of the proto breaks clients of the released one."""
    result = run(buf, PROTOS, "breaking", "--against", "released.binpb")
    assert (result.returncode, result.stdout) == (0, "")


def test_incompatible_change_fails(buf: Path, tmp_path: Path) -> None:
    """A change that breaks clients fails this check."""
    shutil.copytree(PROTOS / "candled", tmp_path / "candled")
    for name in ("buf.yaml", "released.binpb"):
        shutil.copy(PROTOS / name, tmp_path)
    proto = tmp_path / "candled" / "v1" / "candles.proto"
    proto.write_text(proto.read_text().replace("int64 trade_count = 11;", "string trade_count = 11;"))
    result = run(buf, tmp_path, "breaking", "--against", "released.binpb")
    assert result.returncode != 0
    assert "trade_count" in result.stdout
