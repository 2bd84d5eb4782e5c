"""Commands, queries and code of the documents are what a reader can paste."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import click
import httpx
import pytest

from candled.cli.main import main
from tests.cli.demo import Demo, demo, until
from tests.docs.snippets import ROOT, blocks


@pytest.mark.slow
def test_readme_python_passes_strict_mypy(tmp_path: Path) -> None:
    """Every Python block of README type-checks strictly as a reader would paste it."""
    files = []
    for number, block in enumerate(blocks("python")):
        file = tmp_path / f"readme_{number}.py"
        file.write_text(block)
        files.append(str(file))
    assert files
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


DOCUMENTS = ["README.md", *(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md")))]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_queries_of_rows_are_ordered(document: str) -> None:
    """A recipe gives its rows in the same order each time: it says ORDER BY, or gives one row."""
    text = (ROOT / document).read_text("utf-8")
    queries = blocks("sql", document) + re.findall(r'"((?:SELECT|FROM) [^"]+)"', text)
    unordered = [query for query in queries if "ORDER BY" not in query]
    assert unordered == []


def commands(document: str) -> list[str]:
    """The lines of a document's shell blocks that call candled, continued ones joined."""
    lines = "".join(blocks("sh", document)).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("candled ")]


def test_documents_have_commands() -> None:
    """The next test has something to look at."""
    assert len(commands("README.md")) > 8
    assert len([line for document in DOCUMENTS for line in commands(document)]) > 20


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_exist_with_their_options(document: str) -> None:
    """Each candled command of README and docs is one that there is, and so are its options."""
    for line in commands(document):
        _, name, *rest = shlex.split(line, comments=True)
        command = main.get_command(click.Context(main), name)
        assert command is not None, line
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known, line


@pytest.mark.slow
def test_the_first_five_minutes_work_as_pasted(tmp_path: Path) -> None:
    """The commands that README gives beside a demo print bars."""
    with demo(tmp_path) as running:
        paste_first_five_minutes(running)


def paste_first_five_minutes(running: Demo) -> None:
    """Bars of both symbols, rows of SQL, and a status, by README's own lines."""
    [first] = [block for block in blocks("sh") if "export PATH" in block]
    lines = [line for line in first.splitlines() if line.startswith(("candled bars", "candled sql"))]
    assert len(lines) == 2
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        until(lambda words=words: {"BTCUSDT", "ETHUSDT"} <= set(running.run(*words).stdout.split()))  # type: ignore[misc]
    assert "ready" in running.candled("status", "--address", running.grpc)


@pytest.mark.slow
def test_readme_curl_runs(tmp_path: Path) -> None:
    """README's requests are answered with bars and with events, word for word but for the address."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed: README's requests are not tried")
    [recipe] = [block for block in blocks("sh") if block.startswith("curl ")]
    page, stream = recipe.splitlines()
    with demo(tmp_path, "--speed", "60") as running:

        def answer(line: str) -> str:
            words = [*shlex.split(line.replace("127.0.0.1:8080", running.http)), "--silent", "--max-time", "5"]
            return subprocess.run(words, capture_output=True, text=True, check=False).stdout

        def bars() -> list[tuple[str, str]]:
            found = json.loads(answer(page) or "{}").get("bars", [])
            return [(bar["symbol"], bar["interval"]) for bar in found]

        until(lambda: bars() == [("BTCUSDT", "1m")] * 2)
        until(lambda: "event: bar\ndata: {" in answer(stream))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_first_five_minutes_work_from_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed has all that the demo, the page, SQL and the client need, without the clone."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    installed, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    zipfile.ZipFile(wheel).extractall(installed)
    elsewhere.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(installed))  # before the clone, which is installed for development
    where = subprocess.run(
        [sys.executable, "-c", "import candled; print(candled.__path__[0])"],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(where.stdout.strip()) == installed / "candled"
    with demo(elsewhere) as running:
        for path in ("", "chart.js", "vendor/lightweight-charts-5.2.1.js", "openapi.json"):
            assert httpx.get(f"http://{running.http}/{path}").status_code == 200, path
        paste_first_five_minutes(running)
        [script] = [block for block in blocks("python") if "open_trio_client" in block]
        code = script.replace("127.0.0.1:50051", running.grpc).replace(", closed_only=True", "")
        with subprocess.Popen(
            [sys.executable, "-uc", code], cwd=elsewhere, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(("BTCUSDT ", "ETHUSDT "))
            process.kill()


@pytest.mark.slow
def test_readme_python_runs(tmp_path: Path) -> None:
    """README's scripts print live bars of a demo, word for word but for the address and a last bar."""
    scripts = [block for block in blocks("python") if "candled.client" in block]
    assert len(scripts) == 2
    with demo(tmp_path, "--speed", "60") as running:
        for script in scripts:
            code = script.replace("127.0.0.1:50051", running.grpc).replace("print(", "print('bar', ")
            with subprocess.Popen([sys.executable, "-uc", code], stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                assert process.stdout.readline().startswith("bar ")
                process.kill()
