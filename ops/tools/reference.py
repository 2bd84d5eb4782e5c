"""Write the reference pages of the chart and of the Terraform folders from what they describe.

``python -m ops.tools.reference`` writes the README.md of each; `make ops-docs` calls it.
"""

import json
import re
from pathlib import Path
from typing import Any, Final

import attrs
import yaml

OPS: Final = Path(__file__).parents[1]
CHART: Final = OPS / "helm" / "candled"
TERRAFORM: Final = OPS / "terraform"

_BLOCK: Final = re.compile(r'^(variable|output) "(\w+)" \{\n(.*?)^\}', re.MULTILINE | re.DOTALL)
_ATTRIBUTE: Final = re.compile(r"^  (description|type|default) += (.*)$", re.MULTILINE)


@attrs.frozen
class Value:
    """One value of the chart: its path, what it is for, its type and its default."""

    path: str
    text: str
    type: str
    default: Any


def chart_values() -> list[Value]:
    """Read values.yaml: each comment that begins with ``# --`` describes the key below it.

    Raises:
        ValueError: a value has no description.
    """
    text = (CHART / "values.yaml").read_text()
    defaults = yaml.safe_load(text)
    schema = json.loads((CHART / "values.schema.json").read_text())
    values: list[Value] = []
    path: list[str] = []
    comment: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            words = stripped.removeprefix("#").strip()
            comment = [words.removeprefix("-- ")] if words.startswith("-- ") else [*comment, words]
            continue
        key = re.match(r"( *)([A-Za-z]+):", line)
        if key:
            path = [*path[: len(key[1]) // 2], key[2]]
            if comment:
                values.append(_value(path, " ".join(comment), defaults, schema))
            elif not _is_described(path, values) and not line.endswith(":"):
                raise ValueError(f"{'.'.join(path)} in values.yaml has no description: write `# -- ...` above it.")
        comment = []
    return values


def _is_described(path: list[str], values: list[Value]) -> bool:
    """Whether a key, or one above it, has a description."""
    described = {value.path for value in values}
    return any(".".join(path[:depth]) in described for depth in range(1, len(path) + 1))


def _value(path: list[str], text: str, defaults: Any, schema: Any) -> Value:
    for name in path:
        defaults = defaults[name]
        schema = schema.get("properties", {}).get(name, {})
    return Value(".".join(path), text, schema.get("type", ""), defaults)


def chart_readme() -> str:
    """The chart's README: how to install it, and its values."""
    rows = [
        f"| `{value.path}` | {value.type} | `{json.dumps(value.default)}` | {_cell(value.text)} |"
        for value in chart_values()
    ]
    table = "\n".join(["| value | type | default | |", "|---|---|---|---|", *rows])
    return f"""# The chart candled

One StatefulSet with a pod for each shard of symbols, its Services, disruption budget and network policy; or, with
`mode: cluster`, ingesters and edges on a bus of NATS servers. On request certificates, tokens, access from
outside, monitoring and snapshots. kustomize renders the same objects from `ops/k8s`.

```sh
helm upgrade --install candled ops/helm/candled --namespace candled --create-namespace \\
  --set image.repository=REGISTRY/candled --rollback-on-failure --timeout 10m
kubectl --namespace candled port-forward service/candled 50051 8080
```

`--rollback-on-failure` (`--atomic` before Helm 4) waits until the pods are ready, and undoes the upgrade
otherwise. A wrong value is refused by the schema before anything is changed. Label the namespace for the strictest
pod security: `kubectl label namespace candled pod-security.kubernetes.io/enforce=restricted`.

`helm uninstall candled` leaves the claims, and so the histories; `kubectl delete namespace candled` does not.

## Values

{table}

This page is generated from `values.yaml` and `values.schema.json` by `make ops-docs`.
"""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def terraform_tables(folder: Path) -> str:
    """The inputs and outputs of a folder as two tables."""
    inputs, outputs = [], []
    for file in sorted(folder.glob("*.tf")):
        for kind, name, body in _BLOCK.findall(file.read_text()):
            attributes = dict(_ATTRIBUTE.findall(body))
            text = _cell(json.loads(attributes["description"].replace("$$", "$")))
            if kind == "output":
                outputs.append(f"| `{name}` | {text} |")
            else:
                default = f"`{attributes['default']}`" if "default" in attributes else "required"
                inputs.append(f"| `{name}` | `{attributes['type']}` | {default} | {text} |")
    return "\n".join(
        [
            *("## Inputs", "", "| variable | type | default | |", "|---|---|---|---|", *sorted(inputs), ""),
            *("## Outputs", "", "| output | |", "|---|---|", *sorted(outputs)),
        ]
    )


INTRODUCTIONS: Final = {
    "eks-cluster": "An EKS cluster for candled: network, nodes or Auto Mode, add-ons, registry, encryption.",
    "eks-service": "candled in the cluster of [eks-cluster](../eks-cluster/README.md), whose state it reads.",
    "kind": "A cluster on this machine with candled in it.",
    "modules/candled": "The chart in [ops/helm/candled](../../../helm/candled/README.md) as a Terraform module.",
}
"""Each folder of Terraform and what it makes."""


def terraform_readme(name: str) -> str:
    """The README of a folder of Terraform."""
    return f"""# {name}

{INTRODUCTIONS[name]} How to use it: docs/cluster.md at the top of this checkout.

{terraform_tables(TERRAFORM / name)}

This page is generated from the `.tf` files by `make ops-docs`.
"""


def pages() -> dict[Path, str]:
    """Every generated page with its text."""
    result = {CHART / "README.md": chart_readme()}
    return result | {TERRAFORM / name / "README.md": terraform_readme(name) for name in INTRODUCTIONS}


if __name__ == "__main__":
    for path, content in pages().items():
        path.write_text(content)
