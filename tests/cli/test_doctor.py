"""What ``candled doctor`` finds, and that it says what to do."""

import json
import socket

import pytest
import trio
from click.testing import CliRunner

from candled.cli.doctor_command import examine
from candled.cli.main import main
from candled.exchange.server import serve
from candled.settings import DaemonSettings, ExchangeSettings

NOBODY = {"stream_urls": ("ws://127.0.0.1:1",), "rest_urls": ("http://127.0.0.1:1",)}


def found(**settings):
    """Findings by check, the worst of each."""
    ranks = ("ok", "warn", "fail")
    worst = {}
    ports = {"grpc_address": "127.0.0.1:0", "http_address": "127.0.0.1:0"}
    for finding in examine(DaemonSettings(**ports | settings)):
        known = worst.get(finding.check)
        if known is None or ranks.index(finding.state) > ranks.index(known.state):
            worst[finding.check] = finding
    return worst


def test_an_exchange_that_does_not_answer_is_a_failure_that_names_the_setting(tmp_path) -> None:
    findings = found(data_dir=tmp_path, **NOBODY)
    assert findings["rest"].state == findings["stream"].state == "fail"
    assert "--rest-urls" in findings["rest"].text
    assert "--stream-urls" in findings["stream"].text


async def test_one_exchange_of_several_is_enough_and_its_clock_is_compared(tmp_path, nursery) -> None:
    with trio.fail_after(20):
        bound = await nursery.start(serve, ExchangeSettings(address="127.0.0.1:0"))
        urls = {"stream_urls": (bound.stream_url,), "rest_urls": ("http://127.0.0.1:1", bound.rest_url)}
        findings = await trio.to_thread.run_sync(lambda: found(data_dir=tmp_path / "new", **urls))
        nursery.cancel_scope.cancel()
    assert findings["rest"].state == "warn"
    assert [findings[check].state for check in ("clock", "stream", "data dir")] == ["ok", "ok", "ok"]


async def test_a_clock_that_is_wrong_is_a_warning(tmp_path, nursery) -> None:
    with trio.fail_after(20):
        settings = ExchangeSettings(address="127.0.0.1:0", epoch="2020-01-01T00:00:00Z", speed=2)
        bound = await nursery.start(serve, settings)
        urls = {"stream_urls": (bound.stream_url,), "rest_urls": (bound.rest_url,)}
        findings = await trio.to_thread.run_sync(lambda: found(data_dir=tmp_path, **urls))
        nursery.cancel_scope.cancel()
    assert findings["clock"].state == "warn"
    assert "synchronise" in findings["clock"].text


def test_a_port_in_use_is_a_failure(tmp_path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        finding = found(data_dir=tmp_path, http_address=address, **NOBODY)["http port"]
    assert finding.state == "fail"
    assert "--http-address" in finding.text


def test_a_data_directory_that_is_a_file_is_a_failure(tmp_path) -> None:
    (tmp_path / "file").touch()
    finding = found(data_dir=tmp_path / "file", **NOBODY)["data dir"]
    assert finding.state == "fail"
    assert "--data-dir" in finding.text


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_failure_is_the_exit_status(tmp_path, monkeypatch, form) -> None:
    monkeypatch.chdir(tmp_path)
    urls = ("--stream-urls", "ws://127.0.0.1:1", "--rest-urls", "http://127.0.0.1:1")
    result = CliRunner().invoke(main, ["doctor", "--format", form, *urls])
    assert result.exit_code == 1
    if form == "json":
        assert {"check": "stream", "state": "fail"}.items() <= json.loads(result.stdout)[-1].items()
    else:
        assert "FAIL  stream" in result.stdout
