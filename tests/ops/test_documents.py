"""What the pages on clusters say to run and to look at exists."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import attrs
import click
import pytest
import yaml

from candled.cli.main import main
from candled.config.settings import DaemonSettings
from ops.tools.reference import chart_values
from tests.ops.conftest import K8S, ROOT, charted
from tests.ops.cross_references import Object, daemons, title
from tests.ops.test_terraform import ROOTS

PAGES = ["docs/cluster.md", "docs/operations.md"]
OPERATIONS = ROOT / "docs" / "operations.md"
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
    made = {f"ops/terraform/{root}/{file}" for root in ROOTS for file in ("backend.hcl", "terraform.tfvars")}
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
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for snippet in snippets(page.read_text()):
        if snippet.startswith("make "):
            words = shlex.split(snippet, comments=True)[1:]
            assert {word for word in words if "=" not in word} <= targets


def objects_in(page: Path) -> list[Object]:
    """The objects that a page's commands apply."""
    blocks = re.findall(r"--filename - <<'EOF'\n(.*?)^EOF$", page.read_text(), re.MULTILINE | re.DOTALL)
    return [thing for block in blocks for thing in yaml.safe_load_all(block)]


def test_objects_in_commands_are_whole() -> None:
    """The objects of the restore fit each other, the claims of the StatefulSet, and the script's snapshots."""
    claim, content, snapshot = objects_in(OPERATIONS)
    (daemon,) = daemons(list(yaml.safe_load_all(charted({"storageClass": {"create": True}}))))
    (template,) = daemon["spec"]["volumeClaimTemplates"]

    assert claim["metadata"]["name"] == f"{template['metadata']['name']}-{daemon['metadata']['name']}-0"
    assert claim["metadata"]["labels"] == template["metadata"]["labels"]
    assert claim["spec"]["storageClassName"] == template["spec"]["storageClassName"]
    assert re.fullmatch(rf"{claim['metadata']['name']}-\d{{8}}-\d{{6}}", claim["spec"]["dataSource"]["name"])
    assert content["spec"]["volumeSnapshotRef"] == snapshot["metadata"]
    assert snapshot["spec"]["source"] == {"volumeSnapshotContentName": content["metadata"]["name"]}


def deleted_kinds() -> set[str]:
    """The kinds that the page on removing names in its commands."""
    section = OPERATIONS.read_text().split("## Remove it")[1].split("\n## ")[0]
    (whole,) = re.findall(r"kubectl delete (\S+,\S+)", section)
    return {kind for group in (whole, *re.findall(r"`(\w+(?:,\w+)+)`", section)) for kind in group.split(",")}


KEPT = {"Namespace", "PersistentVolumeClaim", "StorageClass", "ClusterRole", "ClusterRoleBinding"}
"""What stays when everything that runs is removed: what holds histories, and what belongs to the whole cluster."""


def test_removing_takes_what_runs_and_no_history(renderings: dict[str, str]) -> None:
    """The documented command deletes every kind that is installed, but namespace and claims."""
    installed = {thing["kind"] for text in renderings.values() for thing in yaml.safe_load_all(text)}

    assert deleted_kinds() == {kind.lower() for kind in installed - KEPT}
    for text in renderings.values():
        for thing in yaml.safe_load_all(text):
            assert thing["metadata"]["labels"]["app.kubernetes.io/name"] == "candled", title(thing)


@pytest.mark.parametrize(
    "words",
    [
        "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute",
        "node_repair_config",
        "delete the namespace **with every claim in it**",
        "/spec/claimRef/uid",
        "A zone is lost",
        "volume node affinity conflict",
    ],
)
def test_a_failure_has_its_way_out(words: str) -> None:
    """Failures that were met on a cluster, or that a review asked for, have a paragraph with what to do."""
    assert words in OPERATIONS.read_text()


def test_components_are_all_listed() -> None:
    """The page on clusters names every component."""
    rows = re.findall(r"^\| (`[^|]*`) \|", (ROOT / "docs" / "cluster.md").read_text(), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([a-z-]+)`", row)}

    assert {folder.name for folder in (K8S / "components").iterdir()} <= named


def test_values_of_the_chart_exist(page: Path) -> None:
    """Values in commands and sentences are values of the chart."""
    known = {value.path for value in chart_values()}
    named = set(re.findall(r"--set '?([A-Za-z.]+)=", page.read_text()))
    named |= set(re.findall(r"`([a-z][A-Za-z]+\.[A-Za-z.]+)(?:=\w+)?`", page.read_text())) - {"candled.client"}
    under = {name for name in named if any(name.startswith(f"{value}.") for value in known)}

    assert named
    assert {n for n in named - under if n.partition(".")[0] in {v.partition(".")[0] for v in known}} <= known
