"""The documentation site: it has every page, and every link in it leads somewhere. ``make docs`` builds it."""

import posixpath
import re
from pathlib import Path

import attrs
import pytest

from candled import client
from candled.api import candles_pb2
from candled.config.settings import DaemonSettings, ExchangeSettings
from docs import site
from docs.reference import GENERATED, ROOT, grpc_page, settings_page


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return site.pages()


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as the site and code hosts make them."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_navigation_names_every_page_of_docs() -> None:
    """A new file in docs/ is reached from the navigation, and what the navigation names exists."""
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")}
    named = site.navigation()

    assert len(named) == len(set(named))
    assert files <= set(named)
    assert [name for name in named if not (ROOT / name).exists() and name not in GENERATED] == []


def test_links_lead_to_pages_and_headings(pages: dict[str, str]) -> None:
    """What is left as a link after gathering is a page of the site, or a file beside it; anchors are headings."""
    for name, text in pages.items():
        for file, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", text):
            target = posixpath.normpath(posixpath.join(posixpath.dirname(name), file)) if file else name
            assert target in pages or (ROOT / target).is_file(), f"{name} links to {file}"
            if target in pages and anchor:
                assert anchor in anchors(pages[target]), f"{name} links to {file}#{anchor}"


def test_broken_link_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A link to what neither the site nor the repository has keeps the site from being made."""
    monkeypatch.setattr(site, "navigation", lambda: ["docs/settings.md"])
    monkeypatch.setitem(GENERATED, "docs/settings.md", lambda: "[gone](gone.md)")

    with pytest.raises(site.BrokenLinkError, match=r"docs/settings\.md links to gone\.md"):
        site.write(tmp_path)


def test_link_out_of_the_site_becomes_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that the site does not show are named, in code of any kind nothing is touched."""
    text = "[rules](../ops/k8s/) and `[x](../ops)`\n```md\n[x](nowhere.md)\n```\n"
    monkeypatch.setattr(site, "navigation", lambda: ["docs/settings.md"])
    monkeypatch.setitem(GENERATED, "docs/settings.md", lambda: text)

    (page,) = site.pages().values()

    assert page == text.replace("[rules](../ops/k8s/)", "rules (`ops/k8s`)")


def test_every_setting_has_a_row() -> None:
    """The page of settings is made from the classes that define them."""
    rows = re.findall(r"^\| `(\w+)`", settings_page(), re.MULTILINE)

    assert rows == [field.name for cls in (DaemonSettings, ExchangeSettings) for field in attrs.fields(cls)]


def test_every_field_of_the_contract_is_shown() -> None:
    """The gRPC page has each method, message, field and value of the proto, with the proto's comments."""
    page = grpc_page()
    contract = candles_pb2.DESCRIPTOR
    fields = [field.name for message in contract.message_types_by_name.values() for field in message.fields]
    values = [value.name for enum in contract.enum_types_by_name.values() for value in enum.values]

    assert re.findall(r"^\| `(\w+)` \| \d", page, re.MULTILINE) == [*fields, *values]
    for service in contract.services_by_name.values():
        assert [f"## {method.name}" in page for method in service.methods] == [True] * len(service.methods)
    assert "| `complete` | 17 | `bool` | Proven by trade ids: no trade is missing. |" in page


def test_client_page_shows_all_that_is_public(pages: dict[str, str]) -> None:
    """Each name that the client exports has its place in the API reference."""
    shown = re.findall(r"^::: candled\.client\.(\w+)$", pages["docs/python-client.md"], re.MULTILINE)

    assert sorted(shown) == sorted(client.__all__)
