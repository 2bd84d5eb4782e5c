"""Terraform: each folder is well formed, valid, passes its own tests with mocked providers, and fits the rest."""

import os
import re
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ops.conftest import ROOT
from tests.ops.test_manifests import KUBERNETES_VERSIONS

TERRAFORM = ROOT / "ops" / "terraform"
FOLDERS = ["eks", "kind", "modules/candled"]


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
def test_checkov_finds_nothing_that_is_not_excused(tool: Callable[[str], str]) -> None:
    config = ["--config-file", ROOT / "ops" / "checkov.yaml", "--framework", "terraform"]
    answer = subprocess.run(
        [tool("checkov"), *config, "--directory", TERRAFORM / "eks"], capture_output=True, text=True, timeout=120
    )

    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert int(re.findall(r"Passed checks: (\d+)", answer.stdout)[0]) > 50


def test_every_folder_is_in_the_list_that_is_checked() -> None:
    assert sorted({str(file.parent.relative_to(TERRAFORM)) for file in TERRAFORM.rglob("*.tf")}) == FOLDERS


@pytest.mark.parametrize("root", ["eks", "kind"])
def test_a_root_deploys_this_version_unless_told_otherwise(root: str) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    variable = (TERRAFORM / root / "variables.tf").read_text().split('variable "image_version"')[1].split("\n}")[0]

    assert f'default     = "{version}"' in variable


def test_eks_runs_a_kubernetes_version_that_the_manifests_are_checked_for() -> None:
    variable = (TERRAFORM / "eks" / "variables.tf").read_text().split('variable "kubernetes_version"')[1]

    assert re.findall(r'default += "([0-9.]+)"', variable)[:1] == [KUBERNETES_VERSIONS[1]]


def test_no_provider_is_used_without_a_version() -> None:
    for folder in FOLDERS:
        text = (TERRAFORM / folder / "versions.tf").read_text()
        assert text.count("source  =") == text.count('version = "~> ') > 0
