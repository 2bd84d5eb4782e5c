"""The import rules of pyproject.toml hold, and each kind of violation that they are for is caught."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import grimp
import pytest
from importlinter import api
from importlinter.contracts.acyclic_siblings import AcyclicSiblingsContract
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.layers import LayersContract
from importlinter.domain.contract import Contract, InvalidContractOptions
from importlinter.domain.fields import ValidationError

from tests.imports.allowed_imports import AllowedImports, TableField

ROOT = Path(__file__).parents[2]
TYPES: dict[str, type[Contract]] = {
    "acyclic_siblings": AcyclicSiblingsContract,
    "allowed_imports": AllowedImports,
    "forbidden": ForbiddenContract,
    "layers": LayersContract,
}
GUARDED = ["time", "random"]

PLANTED = {
    "domain imports trio": ("candled.domain.bar", "trio"),
    "domain imports the engine": ("candled.domain.bar", "candled.engine.minute"),
    "domain imports settings": ("candled.domain.interval", "candled.config.settings"),
    "engine imports a clock": ("candled.engine.symbol", "time"),
    "engine imports random numbers": ("candled.engine.continuity", "random"),
    "engine imports the feed": ("candled.engine.engine", "candled.feed.adapter"),
    "engine imports structlog": ("candled.engine.engine", "structlog"),
    "feed imports the history": ("candled.feed.instruments", "candled.history.durable"),
    "feed imports a clock": ("candled.feed.silence", "time"),
    "history imports the daemon": ("candled.history.settings", "candled.daemon.root"),
    "history imports random numbers": ("candled.history.columns", "random"),
    "stream imports the feed": ("candled.stream.hub", "candled.feed.adapter"),
    "stream imports asyncio outside of the bridge": ("candled.stream.grpc.server", "asyncio"),
    "stream imports trio_asyncio outside of the bridge": ("candled.stream.web.server", "trio_asyncio"),
    "the hub imports trio": ("candled.stream.hub", "trio"),
    "the hub imports a transport": ("candled.stream.hub", "candled.stream.grpc.encoder"),
    "the client imports the history": ("candled.client.decode", "candled.history.durable"),
    "the daemon imports an exchange by name": ("candled.daemon.writer", "candled.feed.binance.adapter"),
    "the daemon imports the command line": ("candled.daemon.root", "candled.cli.output"),
    "backfill imports the daemon": ("candled.backfill.from_exchange", "candled.daemon.root"),
    "telemetry imports what it measures": ("candled.telemetry.latency", "candled.engine.engine"),
    "the embedded exchange imports bars": ("candled.embedded_exchange.klines", "candled.domain.bar"),
    "the embedded exchange reads a second clock": ("candled.embedded_exchange.rest", "time"),
    "layout touches the disk": ("candled.history.segments.layout", "pathlib"),
    "a new third-party package": ("candled.daemon.root", "requests"),
}
"""What must never come to be, as an import from the first module to the second."""


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("candled", include_external_packages=True, cache_dir=None)


@cache
def contracts() -> tuple[Contract, ...]:
    options: dict[str, Any] = api.read_configuration(str(ROOT / "pyproject.toml"))
    return tuple(
        TYPES[contract["type"]](contract["name"], options["session_options"], contract)
        for contract in options["contracts_options"]
    )


def keeps(checked: grimp.ImportGraph, contract: Contract) -> bool:
    """Whether a graph keeps a contract, which may change the graph that it is given."""
    return contract.check(deepcopy(checked), verbose=False).kept


@contextmanager
def planted(importer: str, imported: str) -> Iterator[grimp.ImportGraph]:
    """The project's graph with one import more."""
    changed = graph()
    is_new = imported not in changed.modules
    if is_new:
        changed.add_module(imported, is_squashed=True)
    changed.add_import(importer=importer, imported=imported, line_number=1, line_contents="import it")
    try:
        yield changed
    finally:
        changed.remove_import(importer=importer, imported=imported)
        if is_new:
            changed.remove_module(imported)


@pytest.mark.parametrize("contract", contracts(), ids=lambda contract: contract.name[:40])
def test_project_keeps_each_contract(contract: Contract) -> None:
    """As it stands, no module breaks this contract."""
    assert keeps(graph(), contract)


@pytest.mark.parametrize(("importer", "imported"), PLANTED.values(), ids=PLANTED)
def test_a_planted_violation_is_caught(importer: str, imported: str) -> None:
    """Some contract refuses an import that the architecture forbids."""
    assert importer in graph().modules
    with planted(importer, imported) as changed:
        assert not all(keeps(changed, contract) for contract in contracts())


def small_graph(**imports: list[str]) -> grimp.ImportGraph:
    """A graph of a project of its own; underscores in names stand for dots."""
    made = grimp.ImportGraph()
    for name in ("app", "app.core", "app.edge", "app.edge.wire"):
        made.add_module(name)
    for importer, packages in imports.items():
        for package in packages:
            if package not in made.modules:
                made.add_module(package, is_squashed=True)
            made.add_import(
                importer=importer.replace("_", "."), imported=package, line_number=1, line_contents="import it"
            )
    return made


def check(made: grimp.ImportGraph, **allowed: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """What a table of entries finds wrong in it."""
    table = {"app": [], **{module.replace("_", "."): words for module, words in allowed.items()}}
    contract = AllowedImports("table", {}, {"guarded": GUARDED, "allowed": table})
    result = contract.check(made, verbose=False)
    assert result.kept == (not result.metadata["found"] and not result.metadata["unknown"])
    return result.metadata["found"], result.metadata["unknown"]


def test_what_no_entry_names_is_found() -> None:
    """A third-party package without an entry is reported with the module that imports it."""
    assert check(small_graph(app_core=["trio"])) == ([("app.core", "trio")], [])


def test_an_entry_covers_the_package_below_it() -> None:
    """Modules inherit the entry of the nearest package around them."""
    assert check(small_graph(app_edge_wire=["trio"]), app_edge=["trio"]) == ([], [])


def test_a_nearer_entry_replaces_the_outer_one() -> None:
    """An entry without a plus stands alone."""
    found, _ = check(small_graph(app_edge_wire=["trio"]), app_edge=["trio"], app_edge_wire=["attrs"])
    assert found == [("app.edge.wire", "trio")]


def test_a_plus_extends_the_outer_entry() -> None:
    """An entry that begins with a plus adds to the one around it."""
    made = small_graph(app_edge_wire=["trio", "h11"])
    assert check(made, app_edge=["trio"], app_edge_wire=["+", "h11"]) == ([], [])


def test_the_standard_library_is_free_unless_guarded() -> None:
    """Only guarded modules of the standard library need an entry."""
    found, _ = check(small_graph(app_core=["json", "time"]))
    assert found == [("app.core", "time")]


def test_an_entry_without_a_module_is_found() -> None:
    """A table entry that a rename left behind is reported."""
    assert check(small_graph(), app_gone=["trio"]) == ([], ["app.gone"])


def test_a_table_of_the_wrong_form_is_refused() -> None:
    """A list instead of a table is an error of the configuration."""
    with pytest.raises(ValidationError, match="table of lists"):
        TableField().parse(["app: trio"])
    with pytest.raises(InvalidContractOptions):
        AllowedImports("table", {}, {"guarded": GUARDED, "allowed": ["app: trio"]})
