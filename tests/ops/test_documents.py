"""What the pages on clusters tell people to run and to look at is there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import attrs
import click
import pytest
import yaml

from candled.cli.main import main
from candled.settings import DaemonSettings
from tests.ops.conftest import ROOT

PAGES = ["docs/cluster.md", "docs/operations.md"]
VARIABLE = re.compile(r'^variable "(\w+)"', re.MULTILINE)


@pytest.fixture(params=PAGES)
def page(request: pytest.FixtureRequest) -> Path:
    return ROOT / str(request.param)


def snippets(text: str) -> list[str]:
    """Everything that is set as code: blocks line by line, long lines joined, and what stands between ticks."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return lines + re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def commands_of_candled(text: str) -> Iterator[list[str]]:
    for snippet in snippets(text):
        for part in re.split(r" [|&]+(?: |$)", snippet):
            try:
                words = shlex.split(part, comments=True)
            except ValueError:
                continue  # ends within quotes: a sentence, not a command
            if words[:1] == ["kubectl"] and "--" in words:
                words = words[words.index("--") + 1 :]
            if len(words) > 1 and words[0] in {"candled", ".venv/bin/candled"}:
                yield words[1:]


def test_commands_of_candled_exist_with_their_options(page: Path) -> None:
    found = list(commands_of_candled(page.read_text()))

    assert found
    for name, *rest in found:
        command = main.get_command(click.Context(main), name)
        assert command is not None, name
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known, [name, *rest]


def test_files_exist(page: Path) -> None:
    named = re.findall(r"(?<![\w/.-])((?:ops|docs|tests|\.ci)/[\w./-]*\w)", page.read_text())

    assert named
    made = {"ops/terraform/eks/backend.hcl", "ops/terraform/eks/terraform.tfvars"}
    assert [name for name in named if not (ROOT / name).exists() and name not in made] == []


def test_links_lead_somewhere(page: Path) -> None:
    for file, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text()):
        target = page.parent / file if file else page
        headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
        assert not anchor or anchor in {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}


def test_terraform_variables_exist(page: Path) -> None:
    known = {
        name
        for file in (ROOT / "ops" / "terraform").rglob("variables.tf")
        for name in VARIABLE.findall(file.read_text())
    }
    text = page.read_text()
    named = {*re.findall(r"-var '?(\w+)=", text), *re.findall(r"^(\w+) +=", text, re.MULTILINE)}
    of_a_bar = {"complete"}
    named |= {*re.findall(r"`(\w+) = \S+`", text)}

    assert named
    assert named <= known | of_a_bar


def test_settings_exist(page: Path) -> None:
    known = {f"CANDLED_{field.name.upper()}" for field in attrs.fields(DaemonSettings)}
    of_the_tests = {"CANDLED_CLUSTER_TESTS"}

    assert set(re.findall(r"\bCANDLED_[A-Z_]+\b", page.read_text())) <= known | of_the_tests


def test_targets_of_make_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for snippet in snippets(page.read_text()):
        if snippet.startswith("make "):
            assert set(shlex.split(snippet, comments=True)[1:]) <= targets


def test_objects_in_commands_are_whole() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    objects = [
        yaml.safe_load(content) for content in re.findall(r"<<'EOF'\n(.*?)^EOF$", text, re.MULTILINE | re.DOTALL)
    ]

    assert [thing["kind"] for thing in objects] == [
        "VolumeSnapshotClass",
        "VolumeSnapshot",
        "PersistentVolumeClaim",
    ]
    snapshot_class, snapshot, claim = objects
    assert snapshot["spec"]["volumeSnapshotClassName"] == snapshot_class["metadata"]["name"]
    assert claim["spec"]["dataSource"]["name"] == snapshot["metadata"]["name"]
    assert claim["metadata"]["name"] == snapshot["spec"]["source"]["persistentVolumeClaimName"]
