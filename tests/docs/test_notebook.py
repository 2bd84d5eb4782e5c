"""The notebook in docs/: it is kept as it was executed, and it still runs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from docs.notebook_page import notebook_page

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "notebooks" / "first_look.ipynb"

BYTES_MAX = 150_000


def code_cells(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def outputs(path: Path) -> list[dict[str, Any]]:
    return [output for cell in code_cells(path) for output in cell["outputs"]]


def test_notebook_is_executed_in_order() -> None:
    """A reader on the web sees what each cell gives, from one run."""
    cells = code_cells(NOTEBOOK)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert all(output["output_type"] != "error" for output in outputs(NOTEBOOK))


def test_notebook_stays_small() -> None:
    """Outputs are for reading, not for keeping data."""
    assert NOTEBOOK.stat().st_size < BYTES_MAX


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_notebook_runs(tmp_path: Path) -> None:
    """From live bars and history to plots, against a demo."""
    libraries = os.environ.get("CANDLED_EXAMPLES_PATH")
    if libraries is None:
        pytest.skip("no pandas and Jupyter: `make examples-test` installs them and sets CANDLED_EXAMPLES_PATH")
    output = tmp_path / "executed.ipynb"
    done = subprocess.run(
        [sys.executable, "-m", "docs.notebook", str(output)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": libraries},
        capture_output=True,
        text=True,
        timeout=220,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [cell["source"] for cell in code_cells(output)] == [cell["source"] for cell in code_cells(NOTEBOOK)]
    assert sum("image/png" in given.get("data", {}) for given in outputs(output)) == 2


def test_page_shows_every_cell() -> None:
    """Code as code, tables as tables without a style of their own, plots as pictures."""
    page = notebook_page("docs/notebooks/first_look.ipynb")

    assert all("".join(cell["source"]) in page for cell in code_cells(NOTEBOOK))
    assert page.count("<table") == sum("text/html" in given.get("data", {}) for given in outputs(NOTEBOOK))
    assert page.count("<img") == sum("image/png" in given.get("data", {}) for given in outputs(NOTEBOOK))
    assert "<style" not in page
    assert not re.search(r"<table[^`]*\n\n[^`]*</table>", page)


def test_output_of_an_unknown_kind(tmp_path: Path) -> None:
    """An output that no page can show is an error that names its type."""
    output = {"output_type": "display_data", "data": {"application/x-widget": "{}"}}
    cell = {"cell_type": "code", "source": ["x"], "outputs": [output]}
    notebook = tmp_path / "some.ipynb"
    notebook.write_text(json.dumps({"cells": [cell]}))

    with pytest.raises(ValueError, match=r"application/x-widget"):
        notebook_page(str(notebook))
