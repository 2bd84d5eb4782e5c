"""The options ``--format``, ``--output`` and ``--overwrite``, and the writers that they choose."""

import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs
import click

from candled.cli.output import write_rows
from candled.cli.trio_runner import end_line
from candled.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

FORMATS: Final = ("table", "csv", "json", "parquet")
_SUFFIXES: Final = {".csv": "csv", ".json": "json", ".parquet": "parquet"}

C = TypeVar("C", bound=Callable[..., Any])


@attrs.frozen
class ResultOutput:
    """Where the result of a command goes, and in which form."""

    form: str
    """One of ``FORMATS``."""
    path: Path | None
    """None: standard output."""

    def write(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[Any]],
        *,
        zone: tzinfo,
        width: int | None = None,
        spare: Sequence[str] = (),
    ) -> int:
        """Write rows as text and return their number; arguments are those of ``write_rows``."""
        with self._file() as path:
            if path is None:
                return write_rows(columns, rows, self.form, zone=zone, width=width, spare=spare)
            with path.open("w", encoding="utf-8", newline="") as file:
                return write_rows(columns, rows, self.form, zone=zone, out=file)

    @contextmanager
    def parquet_writer(self, schema: "pa.Schema") -> "Iterator[pq.ParquetWriter]":
        """Open a Parquet writer for columns of these types."""
        import pyarrow.parquet as pq

        with self._file() as path:
            where = path if path is not None else sys.stdout.buffer
            with pq.ParquetWriter(where, schema, compression="zstd") as writer:
                yield writer

    def report(self, count: int, noun: str) -> None:
        """Print the number of rows on standard error, if they went to a file."""
        if self.path is not None:
            end_line(f"candled: {count:,} {noun}{'' if count == 1 else 's'} written to {self.path}")

    @contextmanager
    def _file(self) -> Iterator[Path | None]:
        """Yield the path to write, renamed once it is complete. None: standard output."""
        if self.path is None:
            yield None
            return
        partial = self.path.with_name(f".{self.path.name}.partial")
        try:
            yield partial
            partial.replace(self.path)
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be written: {error.strerror or error}; name another file with --output."
            ) from error
        finally:
            partial.unlink(missing_ok=True)


def output_options(command: C) -> C:
    """Add ``--format``, ``--output`` and ``--overwrite``; the command is called with a ``result_output``."""

    @click.option(
        "--format",
        "form",
        type=click.Choice(FORMATS),
        help="[default: by the ending of --output, else table]",
    )
    @click.option(
        "--output",
        type=click.Path(dir_okay=False, path_type=Path),
        help="File to write instead of standard output: its ending, .csv, .json or .parquet, is the format.",
    )
    @click.option("--overwrite", is_flag=True, help="Replace the file of --output without asking.")
    @functools.wraps(command)
    def wrapper(*args: Any, form: str | None, output: Path | None, overwrite: bool, **kwargs: Any) -> Any:
        chosen = ResultOutput(form or _form_of(output), output)
        if chosen.form == "parquet" and output is None and sys.stdout.isatty():
            raise UserError("Parquet cannot be shown on a terminal: give --output FILE, or pipe it.")
        if output is not None and output.exists() and not overwrite:
            _confirm_overwriting(output)
        return command(*args, result_output=chosen, **kwargs)

    return wrapper  # type: ignore[return-value]


def _form_of(path: Path | None) -> str:
    if path is None:
        return "table"
    form = _SUFFIXES.get(path.suffix.lower())
    if form is None:
        raise UserError(
            f"The name {path} does not say the format: end it with {', '.join(_SUFFIXES)}, or give --format."
        )
    return form


def _confirm_overwriting(path: Path) -> None:
    if sys.stdin.isatty() and sys.stderr.isatty() and click.confirm(f"{path} exists. Replace it?", err=True):
        return
    raise UserError(f"{path} exists and was left as it is: give --overwrite, or another name.")
