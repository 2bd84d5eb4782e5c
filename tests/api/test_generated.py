"""`candled/api` is what `make api` writes from the .proto, byte for byte."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_the_generated_api_is_up_to_date(tmp_path: Path) -> None:
    target = tmp_path / "api"
    subprocess.run([ROOT / "protos" / "generate", sys.executable, target], check=True, timeout=50)
    assert files(target) == files(ROOT / "candled" / "api")
