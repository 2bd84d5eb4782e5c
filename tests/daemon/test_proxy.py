"""The daemon behind a proxy: it waits for one that is away, and its password stays where it was given."""

from pathlib import Path
from typing import TYPE_CHECKING

import httpcore
import pytest
import structlog.testing
import trio
from click.testing import CliRunner

from candled.cli.main import main
from candled.config.proxies import find_proxies
from candled.config.settings import DaemonSettings
from candled.daemon.roles import RoleContext
from candled.daemon.root import serve_daemon
from tests.feed.little_proxy import LittleProxy, open_proxy
from tests.loopback import loopback_settings, open_loopback_exchange

if TYPE_CHECKING:
    from candled.daemon.roles import Addresses

TIMEOUT = 40
SECRET = "hunter2-secret"


async def read(address: str, path: str) -> tuple[int, str]:
    async with httpcore.AsyncConnectionPool() as pool:
        answer = await pool.request("GET", f"http://{address}{path}")
    return answer.status, answer.content.decode()


async def test_daemon_waits_for_proxy(tmp_path: Path) -> None:
    """While the proxy refuses, readiness and log name it, not its password; then bars are made."""
    proxy = LittleProxy(login=("user", "another"))
    stop = trio.Event()
    with trio.fail_after(TIMEOUT), structlog.testing.capture_logs() as logs:
        async with open_proxy(proxy), open_loopback_exchange() as bound, trio.open_nursery() as nursery:
            url = f"http://user:{SECRET}@{proxy.address}"
            settings = loopback_settings(tmp_path, bound, "exchange.invalid", proxy=url)
            nursery.start_soon(run, settings, stop)
            while not (starting := [line for line in logs if line["event"] == "starting"]):
                await trio.sleep(0.02)
            http = starting[0]["http"]
            while "refuses its user and password" not in (answer := await read(http, "/readyz"))[1]:
                await trio.sleep(0.05)
            assert answer[0] == 503
            assert f"the proxy http://{proxy.address}" in answer[1]
            assert SECRET not in answer[1]
            proxy.login = ("user", SECRET)
            while (await read(http, "/readyz"))[0] != 200:
                await trio.sleep(0.05)
            metrics = (await read(http, "/metrics"))[1]
            stop.set()
            nursery.cancel_scope.cancel()
    assert {target.partition(":")[0] for target in proxy.tunnels} == {"exchange.invalid"}
    assert len(proxy.tunnels) >= 2, "REST and the stream"
    routes = [line for line in logs if line["event"] == "route to the exchange"]
    assert {line["route"] for line in routes} == {f"through the proxy http://{proxy.address} (setting proxy)"}
    assert SECRET not in f"{logs} {metrics}"


async def run(settings: DaemonSettings, stop: trio.Event) -> None:
    proxies = find_proxies(settings.proxy, {})
    async with trio.open_nursery() as nursery:
        context = RoleContext(settings, stop, proxies=proxies)
        addresses: Addresses = await nursery.start(serve_daemon, context)
        assert addresses.http


def test_variable_that_is_no_proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One sentence and an exit status, before a directory is made."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{SECRET}@proxy:notaport")
    monkeypatch.setenv("CANDLED_DATA_DIR", str(tmp_path / "data"))
    for command in ("run", "backfill", "doctor"):
        result = CliRunner().invoke(main, [command])
        assert result.exit_code == 2
        assert result.stderr.startswith("candled: Variable HTTPS_PROXY must be the URL of a proxy")
        assert result.stderr.count("\n") == 1
        assert SECRET not in result.output
    assert not (tmp_path / "data").exists()


async def test_doctor_names_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``candled doctor`` says which way each address is reached, and reaches it in that way."""
    monkeypatch.chdir(tmp_path)
    proxy = LittleProxy()
    with trio.fail_after(TIMEOUT):
        async with open_proxy(proxy), open_loopback_exchange() as bound:
            monkeypatch.setenv("ALL_PROXY", f"socks5://user:{SECRET}@{proxy.address}")
            urls = ("--rest-urls", f"http://exchange.invalid:{bound.port}", "--stream-urls", bound.stream_url)
            ports = ("--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0")
            monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")
            arguments = ["doctor", *urls, *ports]
            result = await trio.to_thread.run_sync(lambda: CliRunner().invoke(main, arguments))
    assert f"exchange.invalid:{bound.port} is reached through the proxy socks5://{proxy.address}" in result.stdout
    assert f"{bound.stream_url} is reached directly" in result.stdout
    assert "FAIL" not in result.stdout
    assert proxy.tunnels == [f"exchange.invalid:{bound.port}"]
    assert SECRET not in result.output
