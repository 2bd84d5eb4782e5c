"""Reference pages of the documentation site, made from what they describe: settings, gRPC API, Python API."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, get_type_hints

import attrs
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

from candled import client
from candled.config.settings import DaemonSettings, ExchangeSettings
from candled.config.sources import option_name, show_value, variable_name
from candled.daemon.reload import RELOADABLE
from candled.history.column_names import BAR_COLUMNS
from candled.history.columns import ROW_SCHEMA
from docs.notebook_page import notebook_page

ROOT: Final = Path(__file__).parents[1]
PROTO: Final = "candled/v1/candles.proto"

# Numbers of fields in FileDescriptorProto and its parts, from which the paths of comments are made.
_MESSAGES, _ENUMS, _SERVICES, _PARTS = 4, 5, 6, 2


def settings_page() -> str:
    """Every setting of the daemon and of the embedded exchange: option, variable, key, default, meaning."""
    return "\n".join(
        [
            "# Settings",
            "",
            "Command line, then environment, then a TOML file (`--config`, `CANDLED_CONFIG`, or `candled.toml` in",
            "the working directory), then the default. A list is written with commas; in TOML as an array.",
            "`candled config` shows the current values and the source of each.",
            "",
            "## The daemon",
            "",
            "`candled run`; keys at the top of the file. Those marked ↻ take effect on SIGHUP, without a restart.",
            "",
            *_settings_table(DaemonSettings),
            "",
            "## The embedded exchange",
            "",
            "`candled exchange`; keys in the table `[embedded_exchange]` of the file.",
            "",
            *_settings_table(ExchangeSettings),
            "",
        ]
    )


def _settings_table(cls: type[attrs.AttrsInstance]) -> Iterator[str]:
    hints = get_type_hints(cls)
    yield "| key | option and variable | default | meaning |"
    yield "|---|---|---|---|"
    for field in attrs.fields(cls):
        option = option_name(field.name)
        options = f"`{option}`" + (f" `{option.replace('--', '--no-', 1)}`" if hints[field.name] is bool else "")
        shown = show_value(field.default)
        default = f"`{shown}`" if shown else ""
        mark = " ↻" if cls is DaemonSettings and field.name in RELOADABLE else ""
        meaning = _cell(field.metadata["help"])
        yield f"| `{field.name}`{mark} | {options}<br>`{variable_name(field.name)}` | {default} | {meaning} |"


def grpc_page() -> str:
    """The gRPC API, made from the comments of the proto."""
    file = describe_proto()
    comments = {tuple(at.path): at.leading_comments.strip() for at in file.source_code_info.location}
    lines = [
        "# gRPC API",
        "",
        f"Package `{file.package}`, from [the proto](../protos/{PROTO}). The server has reflection and standard",
        "health; a call that is refused ends with a status and a sentence that says what to change.",
    ]
    for number, service in enumerate(file.service):
        for at, method in enumerate(service.method):
            stream = "stream " if method.server_streaming else ""
            asks, answers = _type_link(method.input_type), _type_link(method.output_type)
            lines += ["", f"## {method.name}", "", f"{asks} → {stream}{answers}", ""]
            lines.append(comments.get((_SERVICES, number, _PARTS, at), ""))
    lines += ["", "## Messages"]
    for number, message in enumerate(file.message_type):
        lines += ["", f"### {message.name}", "", comments.get((_MESSAGES, number), "")]
        lines += _fields(message, number, comments)
    lines += ["", "## Enums"]
    for number, enum in enumerate(file.enum_type):
        lines += ["", f"### {enum.name}", "", comments.get((_ENUMS, number), "")]
        lines += _values(enum, number, comments)
    return "\n".join([*lines, ""])


def describe_proto() -> FileDescriptorProto:
    """Return the proto as its compiler reads it, with comments."""
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / "set"
        subprocess.run(
            [
                *(sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'protos'}"),
                *("--include_source_info", f"--descriptor_set_out={target}", PROTO),
            ],
            check=True,
            capture_output=True,
        )
        (file,) = FileDescriptorSet.FromString(target.read_bytes()).file
    return file


def _fields(message: DescriptorProto, number: int, comments: dict[tuple[int, ...], str]) -> Iterator[str]:
    if not message.field:
        return
    yield from ("| field | number | type | meaning |", "|---|---|---|---|")
    for at, field in enumerate(message.field):
        meaning = _cell(comments.get((_MESSAGES, number, _PARTS, at), ""))
        yield f"| `{field.name}` | {field.number} | {_field_type(field)} | {meaning} |"


def _values(enum: EnumDescriptorProto, number: int, comments: dict[tuple[int, ...], str]) -> Iterator[str]:
    yield from ("| value | number | meaning |", "|---|---|---|")
    for at, value in enumerate(enum.value):
        yield f"| `{value.name}` | {value.number} | {_cell(comments.get((_ENUMS, number, _PARTS, at), ''))} |"


def _field_type(field: FieldDescriptorProto) -> str:
    kind = field.Type.Name(field.type).removeprefix("TYPE_").lower()
    text = _type_link(field.type_name) if field.type_name else f"`{kind}`"
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {text}"
    return f"optional {text}" if field.proto3_optional else text


def _type_link(name: str) -> str:
    package, _, short = name.removeprefix(".").rpartition(".")
    return f"[{short}](#{short.lower()})" if package == "candled.v1" else f"`{package}.{short}`"


CLIENT_FIRST: Final = ("open_trio_client", "TrioClient", "open_asyncio_client", "AsyncioClient")
"""What the page of the client begins with; then values and errors, by name."""


def client_page() -> str:
    """The Python client, from its docstrings."""
    names = [*CLIENT_FIRST, *sorted(set(client.__all__) - set(CLIENT_FIRST))]
    return _api_page("Python client", client.__doc__, "candled.client", names)


def _api_page(title: str, text: str | None, package: str, names: Sequence[str]) -> str:
    return "\n\n".join([f"# {title}", text or "", *(f"::: {package}.{name}" for name in names), ""])


def history_page() -> str:
    """Reading the history: ``connect``, the errors, and the columns of its views."""
    lines = [
        "# History in Python and SQL",
        "",
        "A data directory is read by any number of programs while the daemon writes to it.",
        "[Start](../README.md#use-it) has examples, and how to read the files without candled.",
        "",
        "::: candled.history.connect",
        "",
        "::: candled.history.DataDirectoryError",
        "",
        "## Columns",
        "",
        "`bars` and `bars_between` have one row per closed bar; `minutes` has the stored 1-minute rows.",
        "",
        "| column | Arrow type | in | may be NULL |",
        "|---|---|---|---|",
    ]
    return "\n".join([*lines, *_column_rows(), ""])


def _column_rows() -> Iterator[str]:
    names = [*BAR_COLUMNS, *(name for name in ROW_SCHEMA.names if name not in BAR_COLUMNS)]
    for name in names:
        field: Any = ROW_SCHEMA.field(name) if name in ROW_SCHEMA.names else None
        kind = field.type if field is not None else "string"
        places = [
            *(["`bars`, `bars_between`"] if name in BAR_COLUMNS else []),
            *(["`minutes`"] if field is not None else []),
        ]
        nullable = "yes" if field is not None and field.nullable else ""
        yield f"| `{name}` | {kind} | {', '.join(places)} | {nullable} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


GENERATED: Final = {
    "docs/settings.md": settings_page,
    "docs/grpc.md": grpc_page,
    "docs/python-client.md": client_page,
    "docs/history.md": history_page,
    "docs/notebooks/first_look.md": lambda: notebook_page("docs/notebooks/first_look.ipynb"),
}
"""Pages that no file of the repository holds, and what makes each."""
