"""No secret leaves its place: everything that a daemon writes and answers is searched for each."""

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trio
from click.testing import CliRunner

from candled.cli.main import main
from candled.client import ClientError, open_trio_client
from candled.config.proxies import find_proxies
from candled.daemon.roles import Addresses, RoleContext
from candled.daemon.root import serve_daemon
from candled.telemetry.logging import configure_logging
from tests.feed.little_proxy import LittleProxy, open_proxy
from tests.loopback import loopback_settings, open_loopback_exchange

TIMEOUT = 40
TOKEN = "token-of-a-client-0123456789"
WRONG = "token-of-nobody-9876543210"
PASSWORD = "hunter2-password"
SECRETS = (TOKEN, WRONG, PASSWORD)


@pytest.fixture(autouse=True)
def restore() -> Iterator[None]:
    """Leave the process's logging as it was."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before[0], before[1]


@pytest.mark.parametrize("form", ["json", "console"])
async def test_nothing_shows_a_secret(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither logs down to debug, tracebacks of failed connections, metrics, answers nor ``candled config``."""
    stream = io.StringIO()
    logs = configure_logging("debug", form, stream=stream)
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{TOKEN}\n")
    shown: list[str] = []
    stop = trio.Event()
    with trio.fail_after(TIMEOUT):
        async with (
            open_proxy(LittleProxy(login=("user", PASSWORD))) as proxy,
            open_loopback_exchange() as bound,
            trio.open_nursery() as nursery,
        ):
            url = f"http://user:{PASSWORD}@{proxy.address}"
            settings = loopback_settings(tmp_path, bound, "exchange.invalid", proxy=url, tokens_file=tokens)
            context = RoleContext(settings, stop, proxies=find_proxies(settings.proxy, {}), logs=logs)
            addresses: Addresses = await nursery.start(serve_daemon, context)
            for token in (TOKEN, WRONG):
                shown += await ask_everything(addresses, token)
            tokens.write_text("short\n")  # a reload that is rejected, with the old token in memory
            await trio.sleep(1.2)
            proxy.answers = (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",)
            shown += await ask_everything(addresses, TOKEN)
            try:
                raise RuntimeError(f"of {len(TOKEN)} letters")
            except RuntimeError:
                logging.getLogger("library").exception("a library failed")
            stop.set()
            nursery.cancel_scope.cancel()
    monkeypatch.setenv("CANDLED_PROXY", settings.proxy or "")
    for config_form in ("table", "json"):
        arguments = ["config", "--format", config_form, "--tokens-file", str(tokens)]
        shown.append((await trio.to_thread.run_sync(lambda: CliRunner().invoke(main, arguments))).output)  # noqa: B023
    assert "reload of tokens rejected" in stream.getvalue()
    assert "a library failed" in stream.getvalue()
    assert any("candled_trades_total" in text for text in shown)
    assert any("UNAUTHENTICATED" in text for text in shown)
    for text in [stream.getvalue(), repr(settings), *shown]:
        assert [secret for secret in SECRETS if secret in text] == []


async def ask_everything(addresses: Addresses, token: str) -> list[str]:
    """What both ports answer to a client with this token."""
    shown = []
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=f"http://{addresses.http}", headers=headers) as client:
        for path in ("/metrics", "/readyz", "/api/status", "/api/bars?symbol=BTCUSDT", "/api/bars?limit=x"):
            answer = await client.get(path)
            shown.append(f"{answer.status_code} {answer.headers} {answer.text}")
    async with open_trio_client(addresses.grpc, token=token) as client_of_grpc:
        try:
            shown.append(repr(await client_of_grpc.status()))
        except ClientError as error:
            shown.append(f"{error!r} {error}")
    return shown
