"""A contract of import-linter: a module imports from outside of the project only what its table entry allows."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from grimp import ImportGraph
from importlinter.application import output
from importlinter.domain import fields
from importlinter.domain.contract import Contract, ContractCheck

EXTENDS: Final = "+"
"""First word of an entry that adds to the entry of the package around it, instead of replacing it."""


class TableField(fields.Field[Mapping[str, tuple[str, ...]]]):
    """A TOML table of lists of words."""

    def parse(self, raw_data: Any) -> Mapping[str, tuple[str, ...]]:
        """Return the table.

        Raises:
            ValidationError: it is not a table of lists.
        """
        if not isinstance(raw_data, dict) or not all(isinstance(words, list) for words in raw_data.values()):
            raise fields.ValidationError("must be a table of lists of package names")
        return {module: tuple(map(str, words)) for module, words in raw_data.items()}


class AllowedImports(Contract):
    """Every import of a third-party package, or of a guarded module of the standard library, is allowed by name.

    Options:
        guarded: modules of the standard library that need an entry (clocks, random numbers, I/O, threads).
        allowed: allowed top-level packages by module. The entry of the nearest package around a module counts;
            one that begins with "+" extends the next entry outwards.
    """

    type_name = "allowed_imports"

    guarded = fields.SetField(subfield=fields.StringField())
    allowed = TableField()

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Find what no entry allows."""
        found = sorted(self._violations(graph))
        unknown = sorted(module for module in self._table if module not in graph.modules)
        return ContractCheck(kept=not found and not unknown, metadata={"found": found, "unknown": unknown})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print what to change."""
        for importer, package in check.metadata["found"]:
            output.print_error(f"{importer} must not import {package}: use another module, or add to the table")
        for module in check.metadata["unknown"]:
            output.print_error(f"{module} has an entry in the table and does not exist")

    @property
    def _table(self) -> Mapping[str, tuple[str, ...]]:
        return cast("Mapping[str, tuple[str, ...]]", self.allowed)

    def _violations(self, graph: ImportGraph) -> Iterator[tuple[str, str]]:
        roots = {module.partition(".")[0] for module in self._table}
        guarded = cast("set[str]", self.guarded)
        for importer in graph.modules:
            if importer.partition(".")[0] not in roots or graph.is_module_squashed(importer):
                continue
            allowed = self._allowed(importer)
            for imported in graph.find_modules_directly_imported_by(importer):
                package = imported.partition(".")[0]
                if package in roots or (package in sys.stdlib_module_names and package not in guarded):
                    continue
                if package not in allowed:
                    yield importer, package

    def _allowed(self, module: str) -> set[str]:
        entry = self._table.get(module)
        outer = module.rpartition(".")[0]
        if entry is None:
            return self._allowed(outer) if outer else set()
        if entry[:1] == (EXTENDS,):
            return {*entry[1:], *(self._allowed(outer) if outer else ())}
        return set(entry)
