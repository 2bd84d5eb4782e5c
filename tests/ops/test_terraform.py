"""Terraform: each folder is well formed, valid, passes its own tests with mocked providers, and fits the rest."""

import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.ops.conftest import K8S, ROOT, charted
from tests.ops.cross_references import daemons, problems, settings
from tests.ops.test_manifests import KUBERNETES_VERSIONS

TERRAFORM = ROOT / "ops" / "terraform"
ROOTS = ["eks-cluster", "eks-service", "kind"]
FOLDERS = [*ROOTS, "modules/candled"]


def terraform_check() -> Path:
    """The checking tool that lies beside the checkout, or where CANDLED_TERRAFORM_CHECK says."""
    named = os.environ.get("CANDLED_TERRAFORM_CHECK")
    path = Path(named) if named else ROOT.parent / "shared" / "tools" / "terraform-check" / "terraform-check"
    if named and not path.is_file():
        pytest.fail(f"CANDLED_TERRAFORM_CHECK says {named}, and no such file is there")
    if not path.is_file():
        pytest.skip("terraform-check is not beside the checkout, and CANDLED_TERRAFORM_CHECK does not name it")
    return path


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_folder_is_valid_and_passes_its_own_tests() -> None:
    answer = subprocess.run([terraform_check(), "--all", TERRAFORM], capture_output=True, text=True, timeout=280)

    assert answer.returncode == 0, answer.stdout + answer.stderr
    for folder in FOLDERS:
        assert re.search(rf"^{folder}: test +ok .* 0 failed$", answer.stdout, re.MULTILINE), answer.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_checkov_finds_only_excused_issues(tool: Callable[[str], str]) -> None:
    config: list[str | Path] = ["--config-file", ROOT / "ops" / "checkov.yaml", "--framework", "terraform"]
    command: list[str | Path] = [tool("checkov"), *config, "--directory", TERRAFORM / "eks-cluster"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=280)

    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert int(re.findall(r"Passed checks: (\d+)", answer.stdout)[0]) > 50


def test_every_folder_is_in_the_list_that_is_checked() -> None:
    assert sorted({str(file.parent.relative_to(TERRAFORM)) for file in TERRAFORM.rglob("*.tf")}) == FOLDERS


@pytest.mark.parametrize("root", ["eks-service", "kind"])
def test_roots_deploy_this_version_by_default(root: str) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    variable = (TERRAFORM / root / "variables.tf").read_text().split('variable "image_version"')[1].split("\n}")[0]

    assert f'default     = "{version}"' in variable


def test_kind_runs_a_checked_version() -> None:
    """The pinned node is of a Kubernetes version that the manifests are checked for."""
    (node,) = yaml.safe_load((K8S / "overlays" / "kind" / "cluster.yaml").read_text())["nodes"]
    version = re.fullmatch(r"kindest/node:v(1\.\d+)\.\d+@sha256:[0-9a-f]{64}", node["image"])

    assert version
    assert version[1] in KUBERNETES_VERSIONS


BLOCK = re.compile(r'^(variable|output|data) "(\w+)"(?: "(\w+)")? \{\n(.*?)^\}', re.MULTILINE | re.DOTALL)
LOCALS = re.compile(r"^locals \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
PREFIXES = {"variable": "var", "data": "data"}
"""How a declaration is named where it is used."""
OUTPUT = 'output "b" {\n  description = "B."\n  value = var.a\n}'


def lint_problems(folder: Path) -> list[str]:
    """What tflint's rules for any provider would say; no package of it was found."""
    text = "\n".join(file.read_text() for file in sorted(folder.glob("*.tf")))
    found = [] if re.search(r"^  required_version = ", text, re.MULTILINE) else ["no required_version"]
    wrapped = re.findall(r'= ("\$\{[^}"]*\}")$', text, re.MULTILINE)
    found += [f"{value} is a string around one value" for value in wrapped]
    named = [(kind, ".".join(filter(None, names)), body) for kind, *names, body in BLOCK.findall(text)]
    for kind, name, body in named:
        if kind != "data" and not re.search(r"^  description +=", body, re.MULTILINE):
            found.append(f"{kind} {name} has no description")
        if kind == "variable" and not re.search(r"^  type +=", body, re.MULTILINE):
            found.append(f"variable {name} has no type")
        if kind != "output" and not re.search(rf"\b{PREFIXES[kind]}\.{name}\b", text.replace(body, "")):
            found.append(f"{kind} {name} is not used")
    for name in re.findall(r"^  (\w+) +=", "".join(LOCALS.findall(text)), re.MULTILINE):
        if not re.search(rf"\blocal\.{name}\b", text):
            found.append(f"local {name} is not used")
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_declaration_is_typed_described_and_used(folder: str) -> None:
    assert lint_problems(TERRAFORM / folder) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('variable "old" {\n  description = "Old."\n  type        = string\n}', "variable old is not used"),
        (f'variable "a" {{\n  type = string\n}}\n{OUTPUT}', "variable a has no description"),
        (f'variable "a" {{\n  description = "A."\n}}\n{OUTPUT}', "variable a has no type"),
        ('output "b" {\n  value = 1\n}', "output b has no description"),
        (
            'output "b" {\n  description = "B."\n  value = "${local.a}"\n}',
            '"${local.a}" is a string around one value',
        ),
        ("locals {\n  a = 1\n}", "local a is not used"),
        ('data "aws_region" "here" {\n}', "data aws_region.here is not used"),
        ("", "no required_version"),
    ],
)
def test_a_planted_declaration_is_found(text: str, problem: str, tmp_path: Path) -> None:
    """What is missing or left over is named, and nothing else."""
    version = 'terraform {\n  required_version = ">= 1.11"\n}\n' if text else ""
    (tmp_path / "main.tf").write_text(version + text + "\n")

    assert lint_problems(tmp_path) == [problem]


PROVIDER = re.compile(r'source\s+= "([\w/]+)"\s+version = "([^"]+)"')
LOCKED = re.compile(
    r'provider "registry\.terraform\.io/([\w/]+)" \{\s+version\s+= "([^"]+)"\s+constraints = "([^"]+)"'
)


def lock_problems(root: Path) -> list[str]:
    """What is wrong with the lock file of a root."""
    wanted = dict(PROVIDER.findall((root / "versions.tf").read_text()))
    file = root / ".terraform.lock.hcl"
    if not file.is_file():
        return ["no lock file"]
    locked = {name: (version, constraint) for name, version, constraint in LOCKED.findall(file.read_text())}
    problems = [f"{name} is not locked" for name in wanted.keys() - locked.keys()]
    problems += [f"{name} is locked and not used" for name in locked.keys() - wanted.keys()]
    for name in wanted.keys() & locked.keys():
        version, constraint = locked[name]
        lowest = wanted[name].removeprefix("~> ").split(".")
        if constraint != wanted[name]:
            problems.append(f"{name} is locked for {constraint}")
        elif version.split(".")[0] != lowest[0] or int(version.split(".")[1]) < int(lowest[1]):
            problems.append(f"{name} {version} is not {constraint}")
    return problems


@pytest.mark.parametrize("root", ROOTS)
def test_provider_versions_are_locked(root: str) -> None:
    """Every apply uses the provider versions that were checked."""
    assert lock_problems(TERRAFORM / root) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"),
    [
        (".terraform.lock.hcl", '"3.3.0"', '"3.2.0"', "hashicorp/helm 3.2.0 is not ~> 3.3"),
        (".terraform.lock.hcl", "/hashicorp/helm", "/hashicorp/helmet", "hashicorp/helm is not locked"),
        ("versions.tf", "~> 3.4", "~> 3.5", "hashicorp/kubernetes is locked for ~> 3.4"),
    ],
)
def test_a_planted_lock_is_found(file: str, old: str, new: str, problem: str, tmp_path: Path) -> None:
    """A lock that does not fit the constraints is named."""
    root = shutil.copytree(TERRAFORM / "kind", tmp_path / "kind")
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new))

    assert problem in lock_problems(root)


def test_the_modules_values_render(tmp_path: Path) -> None:
    """What the module makes of its variables is what the chart takes, and gives correct objects."""
    values = yaml.safe_load((TERRAFORM / "modules" / "candled" / "tests" / "values.yaml").read_text())
    objects = list(yaml.safe_load_all(charted(values)))

    assert problems(objects) == []
    (daemon,) = daemons(objects)
    assert daemon["spec"]["replicas"] == 2
    assert settings(daemon)["CANDLED_LOG_LEVEL"] == "debug"


def test_no_provider_is_used_without_a_version() -> None:
    for folder in FOLDERS:
        text = (TERRAFORM / folder / "versions.tf").read_text()
        assert text.count("source  =") == text.count('version = "~> ') > 0
