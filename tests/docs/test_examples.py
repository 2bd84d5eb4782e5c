"""Examples in the docstrings of the Python client are what a reader can paste."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.demo import demo
from tests.docs.examples import Example, entry_points, examples, program
from tests.docs.snippets import ROOT

EXAMPLES = examples()
NAMES = [name for example in EXAMPLES for name, _ in example.names]


@pytest.mark.parametrize("owner", sorted(dict(entry_points())))
def test_entry_point_has_an_example(owner: str) -> None:
    """Whatever a user calls shows how in its docstring."""
    assert [example for example in EXAMPLES if example.owner.split("_")[0] == owner.split("_")[0]]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.owner)
def test_example_prints_last(example: Example) -> None:
    """An example ends with what it prints, so that all of it has run by then."""
    assert example.prints_last


@pytest.mark.slow
def test_examples_pass_strict_mypy(tmp_path: Path) -> None:
    """Every example type-checks strictly, with the client that it is for."""
    file = tmp_path / "examples.py"
    file.write_text(program(EXAMPLES, "127.0.0.1:50051"))
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """How each example ended on one demo."""
    directory = tmp_path_factory.mktemp("examples")
    with demo(directory, "--speed", "60") as running:
        code = program(EXAMPLES, running.grpc)
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=directory, capture_output=True, text=True, timeout=120, check=False
        )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(line) for line in done.stdout.splitlines())


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_example_runs(ends: dict[str, str], name: str) -> None:
    """An example prints what it says, with Trio, asyncio or neither, on a live daemon."""
    if ends[name].startswith("needs "):
        pytest.skip(ends[name])
    assert ends[name].startswith("printed ")
