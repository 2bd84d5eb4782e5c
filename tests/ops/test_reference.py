"""The generated reference pages are those of the files that they describe."""

from pathlib import Path

import pytest

from ops.tools import reference
from tests.ops.conftest import ROOT

PAGES = reference.pages()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_is_up_to_date(path: Path) -> None:
    """`make ops-docs` would change nothing."""
    assert path.read_text() == PAGES[path]


def test_every_terraform_folder_has_a_page() -> None:
    """A new folder is introduced, too."""
    folders = {str(file.parent.relative_to(reference.TERRAFORM)) for file in reference.TERRAFORM.rglob("*.tf")}

    assert folders == set(reference.INTRODUCTIONS)


def test_every_default_of_the_chart_is_described(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A value without a comment is refused."""
    (tmp_path / "values.yaml").write_text("# -- Described.\none: 1\n\ntwo: 2\n")
    (tmp_path / "values.schema.json").write_text("{}")
    monkeypatch.setattr(reference, "CHART", tmp_path)

    with pytest.raises(ValueError, match=r"two in values\.yaml has no description"):
        reference.chart_values()
