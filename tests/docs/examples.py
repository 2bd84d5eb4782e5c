"""Examples in docstrings of the Python client, and the program that runs them."""

import ast
import inspect
import re
from collections.abc import Iterator
from textwrap import dedent, indent
from typing import Any, Final, Literal

import attrs

from candled import client

Kind = Literal["sync", "trio", "asyncio"]

PLUMBING: Final = frozenset({"open_call", "connected", "leave", "start_soon", "client_error", "close", "aclose"})
"""Methods that need no example: what the parts of a client call each other, and ends."""


@attrs.frozen
class Example:
    """The code of one docstring."""

    owner: str
    """Whose docstring it is; where it has several, followed by their number."""
    code: str

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Clients that it is for: of one that it opens, or of those that have its methods."""
        if "open_trio_client(" in self.code:
            return ("trio",)
        if "open_asyncio_client(" in self.code:
            return ("asyncio",)
        return ("trio", "asyncio") if re.search(r"\b(async|await)\b", self.code) else ("sync",)

    @property
    def names(self) -> tuple[tuple[str, Kind], ...]:
        """Names of the functions that it becomes."""
        return tuple((f"{self.owner.replace('.', '_')}_{kind}", kind) for kind in self.kinds)

    @property
    def prints_last(self) -> bool:
        """Whether it prints once, in its last statement: all before that has run by then."""
        statement: Any = ast.parse(f"async def f():\n{indent(self.code, '    ')}").body[0]
        while (inner := getattr(statement, "handlers", None) or getattr(statement, "body", None)) is not None:
            statement = inner[-1]
        return self.code.count("print(") == 1 and ast.unparse(statement).startswith("print(")


def entry_points() -> Iterator[tuple[str, Any]]:
    """What a user calls: functions that open a client, its methods, and what a list of bars becomes."""
    yield "client", client
    for name in ("open_client", "open_trio_client", "open_asyncio_client"):
        yield name, getattr(client, name)
    callers: tuple[type[Any], ...] = (client.SyncClient, client.TrioClient, client.AsyncioClient, client.Bars)
    for cls in callers:
        base = set(dir(list))
        for name, method in inspect.getmembers(cls, inspect.isfunction):
            if not name.startswith("_") and name not in PLUMBING | base:
                yield method.__qualname__, method
    others: tuple[type[Any], ...] = (client.SyncClient, client.Bars, client.LiveBars, client.ClientError)
    for cls in others:
        yield cls.__name__, cls


def examples() -> list[Example]:
    """The examples of the entry points, each once."""
    found = []
    for owner, thing in dict(entry_points()).items():
        codes = re.findall(r"^ *```python\n(.*?)^ *```", thing.__doc__ or "", re.DOTALL | re.MULTILINE)
        for number, code in enumerate(codes, 1):
            found.append(Example(owner if len(codes) == 1 else f"{owner}_{number}", dedent(code)))
    return found


def program(found: list[Example], address: str) -> str:
    """A module that runs each example with each client, and prints how it ended: a line of JSON each."""
    functions = [_function(example, name, kind) for example in found for name, kind in example.names]
    calls = [f"    run({name}, {kind!r})" for example in found for name, kind in example.names]
    return "\n".join([_BEGIN, *functions, _END, *calls, ""]).replace("127.0.0.1:50051", address)


def _function(example: Example, name: str, kind: Kind) -> str:
    cls = {"sync": "SyncClient", "trio": "TrioClient", "asyncio": "AsyncioClient"}[kind]
    head = "def" if kind == "sync" else "async def"
    return f"{head} {name}(client: {cls}) -> None:\n{indent(example.code, '    ')}\n"


_BEGIN: Final = f"""
import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import trio

from candled.client import {", ".join(sorted(client.__all__))}


class Printed(Exception):
    pass


def print(*values: object) -> None:
    raise Printed(" ".join(map(str, values)))

"""
_END: Final = """
def run(example: Any, kind: str) -> None:
    async def with_trio() -> None:
        async with open_trio_client("127.0.0.1:50051") as client:
            await example(client)

    async def with_asyncio() -> None:
        async with open_asyncio_client("127.0.0.1:50051") as client:
            await example(client)

    end = "ended without print()"
    try:
        if kind == "sync":
            with open_client("127.0.0.1:50051") as client:
                example(client)
        elif kind == "trio":
            trio.run(with_trio)
        else:
            asyncio.run(with_asyncio())
    except Printed as printed:
        end = f"printed {printed}"
    except ImportError as error:
        end = f"needs {error.args[0]}"
    except BaseException as error:
        end = f"raised {error!r}"
    __builtins__.print(json.dumps([example.__name__, end]), flush=True)


def wait_for_bars() -> None:
    with open_client("127.0.0.1:50051") as client:
        while not client.get_bars("BTCUSDT", limit=1):
            time.sleep(0.1)


if __name__ == "__main__":
    wait_for_bars()
"""
