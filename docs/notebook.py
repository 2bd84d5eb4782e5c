"""Execute the notebook against a demo and write it with its outputs: ``python -m docs.notebook OUTPUT``.

It runs as it stands, with the address and the data directory of this demo instead of the default ones. ``make
notebook`` does it in an environment that has the libraries.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from candled.client import open_client
from tests.cli.demo import demo, until

NOTEBOOK: Final = Path(__file__).parent / "notebooks" / "first_look.ipynb"
_ADDRESS: Final = "127.0.0.1:50051"
_DATA_DIR: Final = "candled-demo-data"
_BARS: Final = 120
"""That the notebook asks for."""
_CELL_SECONDS_MAX: Final = 60


def main(output: str) -> None:
    """Run a demo in which an hour passes in a minute, execute the notebook, and write it."""
    with tempfile.TemporaryDirectory() as folder, demo(Path(folder), "--speed", "60") as daemon:
        with open_client(daemon.grpc) as client:
            until(lambda: len(client.get_bars("BTCUSDT", limit=_BARS)) == _BARS)
        data_dir = Path(folder) / _DATA_DIR
        until(lambda: list(data_dir.glob("[rb]*/**/*.parquet")))
        nbformat.write(execute(daemon.grpc, data_dir), output)


def execute(address: str, data_dir: Path) -> Any:
    """Return the notebook with what its cells show of this daemon.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook: Any = nbformat.read(NOTEBOOK, as_version=4)
    sources = [cell.source for cell in notebook.cells]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = cell.source.replace(_ADDRESS, address).replace(_DATA_DIR, str(data_dir))
    kernel = AsyncKernelManager(kernel_name="python3", transport="ipc")  # no port, which others could reach
    NotebookClient(notebook, km=kernel, timeout=_CELL_SECONDS_MAX).execute()
    for cell, source in zip(notebook.cells, sources, strict=True):
        cell.source = source
        cell.metadata = {}
    notebook.metadata.pop("language_info", None)  # the version of Python
    return notebook


if __name__ == "__main__":
    main(sys.argv[1])
