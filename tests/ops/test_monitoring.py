"""Alert rules and the dashboard ask for metrics that exist, and alert when they should."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from candled.daemon.metrics import TABLES
from candled.telemetry.table import Metric
from tests.ops.conftest import K8S, ROOT

MONITORING = K8S / "components" / "monitoring"
OF_KUBERNETES = re.compile(r"\b(?:kubelet|container|kube_cronjob)_[a-z_]+")
"""Metrics of the node's own agent and of kube-state-metrics, which kube-prometheus-stack has."""


def rule_groups() -> dict[str, Any]:
    spec: dict[str, Any] = yaml.safe_load((MONITORING / "rules.yaml").read_text())["spec"]
    return spec


def alerts() -> list[dict[str, Any]]:
    return [rule for group in rule_groups()["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text())
    return content


def dashboard_expressions() -> Iterator[str]:
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


def known_metrics() -> set[str]:
    return {name for table in TABLES.values() for metric in table for name in series_of(metric)}


def series_of(metric: Metric[Any]) -> list[str]:
    """What Prometheus stores of a metric."""
    parts = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
    return [metric.name + part for part in parts]


def metrics_in(expression: str) -> set[str]:
    return set(re.findall(r"\bcandled_[a-z0-9_]+\b", expression))


def test_alerts_ask_for_metrics_that_the_daemon_has() -> None:
    for alert in alerts():
        assert metrics_in(alert["expr"]) <= known_metrics(), alert["alert"]
        assert metrics_in(alert["expr"]) or OF_KUBERNETES.search(alert["expr"]), alert["alert"]


def test_the_dashboard_asks_for_metrics_that_the_daemon_has() -> None:
    variables = [variable["query"] for variable in dashboard()["templating"]["list"]]
    for expression in [*dashboard_expressions(), *variables]:
        assert metrics_in(expression) <= known_metrics(), expression


def test_labels_in_queries_are_labels_of_the_metric() -> None:
    labels = {
        name: {*metric.labels, "pod", "namespace", "le"}
        for table in TABLES.values()
        for metric in table
        for name in series_of(metric)
    }
    for expression in [*(alert["expr"] for alert in alerts()), *dashboard_expressions()]:
        for name, matchers in re.findall(r"\b(candled_[a-z0-9_]+)\{([^}]*)\}", expression):
            assert set(re.findall(r"(\w+)=~?\"", matchers)) <= labels[name], expression


def test_dashboard_variables_are_defined_and_used() -> None:
    defined = {variable["name"] for variable in dashboard()["templating"]["list"]}
    text = json.dumps(dashboard()["panels"])
    used = {name.strip("{}") for name in re.findall(r"\$(\{\w+\}|\w+)", text)} - {"__rate_interval"}

    assert used == defined


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        grid = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    operations = (ROOT / "docs" / "operations.md").read_text()
    for alert in alerts():
        assert alert["labels"]["severity"] in {"critical", "warning"}
        assert alert["annotations"].keys() == {"summary", "description"}
        assert f"### {alert['alert']}\n" in operations


def test_no_instruction_is_left_of_an_alert_that_is_gone() -> None:
    operations = (ROOT / "docs" / "operations.md").read_text()

    assert set(re.findall(r"^### (Candled\w+)$", operations, re.MULTILINE)) == {a["alert"] for a in alerts()}


def test_alerts_are_raised_when_they_should_be(tool: Callable[[str], str], tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rule_groups()))
    (tmp_path / "test.yaml").write_text((ROOT / "tests" / "ops" / "alert_rules_test.yaml").read_text())

    answer = subprocess.run(
        [tool("promtool"), "test", "rules", "test.yaml"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )

    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_dashboard_queries_are_valid(tool: Callable[[str], str], tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(dashboard_expressions())
    ]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))

    answer = subprocess.run(
        [tool("promtool"), "check", "rules", "rules.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert answer.returncode == 0, answer.stdout + answer.stderr
