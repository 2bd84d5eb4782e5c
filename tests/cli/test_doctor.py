"""What ``candled doctor`` finds, and that it says what to do."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner

from candled.cli.doctor_command import Finding, examine
from candled.cli.main import main
from candled.config.settings import DaemonSettings, ExchangeSettings
from candled.embedded_exchange.server import serve

NOBODY: dict[str, Any] = {"stream_urls": ("ws://127.0.0.1:1",), "rest_urls": ("http://127.0.0.1:1",)}


def found(**settings: Any) -> dict[str, Finding]:
    """Findings by check, the worst of each."""
    ranks = ("ok", "warn", "fail")
    worst: dict[str, Finding] = {}
    ports: dict[str, Any] = {"grpc_address": "127.0.0.1:0", "http_address": "127.0.0.1:0"}
    for finding in examine(DaemonSettings(**ports | settings)):
        known = worst.get(finding.check)
        if known is None or ranks.index(finding.state) > ranks.index(known.state):
            worst[finding.check] = finding
    return worst


def test_silent_exchange_names_its_setting(tmp_path: Path) -> None:
    """An exchange that does not answer is a failure, with the setting to change."""
    findings = found(data_dir=tmp_path, **NOBODY)
    assert findings["rest"].state == findings["stream"].state == "fail"
    assert "--rest-urls" in findings["rest"].text
    assert "--stream-urls" in findings["stream"].text


async def test_one_endpoint_is_enough(tmp_path: Path, nursery: trio.Nursery) -> None:
    """A REST URL that fails is a warning where another one answers, whose clock is compared."""
    with trio.fail_after(20):
        bound = await nursery.start(serve, ExchangeSettings(address="127.0.0.1:0"))
        urls: dict[str, Any] = {
            "stream_urls": (bound.stream_url,),
            "rest_urls": ("http://127.0.0.1:1", bound.rest_url),
        }
        findings = await trio.to_thread.run_sync(lambda: found(data_dir=tmp_path / "new", **urls))
        nursery.cancel_scope.cancel()
    assert findings["rest"].state == "warn"
    assert [findings[check].state for check in ("clock", "stream", "data dir")] == ["ok", "ok", "ok"]


async def test_a_clock_that_is_wrong_is_a_warning(tmp_path: Path, nursery: trio.Nursery) -> None:
    with trio.fail_after(20):
        settings = ExchangeSettings(address="127.0.0.1:0", epoch="2020-01-01T00:00:00Z", speed=2)
        bound = await nursery.start(serve, settings)
        urls: dict[str, Any] = {"stream_urls": (bound.stream_url,), "rest_urls": (bound.rest_url,)}
        findings = await trio.to_thread.run_sync(lambda: found(data_dir=tmp_path, **urls))
        nursery.cancel_scope.cancel()
    assert findings["clock"].state == "warn"
    assert "synchronise" in findings["clock"].text


def test_an_open_http_port_beside_mutual_tls(tmp_path: Path) -> None:
    """Client certificates on the gRPC port alone are a warning that says what is open."""
    findings = found(data_dir=tmp_path, grpc_tls_client_authority=tmp_path / "ca.pem", **NOBODY)
    assert findings["http access"].state == "warn"
    assert "--tokens-file" in findings["http access"].text


def test_a_port_in_use_is_a_failure(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        finding = found(data_dir=tmp_path, http_address=address, **NOBODY)["http port"]
    assert finding.state == "fail"
    assert "--http-address" in finding.text


def test_file_as_data_directory(tmp_path: Path) -> None:
    """A file in the place of the data directory is a failure."""
    (tmp_path / "file").touch()
    finding = found(data_dir=tmp_path / "file", **NOBODY)["data dir"]
    assert finding.state == "fail"
    assert "--data-dir" in finding.text


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_failure_is_the_exit_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.chdir(tmp_path)
    urls = ("--stream-urls", "ws://127.0.0.1:1", "--rest-urls", "http://127.0.0.1:1")
    result = CliRunner().invoke(main, ["doctor", "--format", form, *urls])
    assert result.exit_code == 1
    if form == "json":
        assert {"check": "stream", "state": "fail"}.items() <= json.loads(result.stdout)[-1].items()
    else:
        assert "FAIL  stream" in result.stdout
