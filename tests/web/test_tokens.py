"""Bearer tokens on the HTTP port: what is guarded, what is open, and how a browser gets in."""

from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from candled.domain.interval import MINUTE
from candled.stream.access import BearerTokens
from tests.web.browser import Page
from tests.web.stand import NOW, Stand, made_up_bar

TOKEN = "a-token-of-many-letters"


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    path = tmp_path / "tokens"
    path.write_text(f"{TOKEN}\n")
    stand = Stand(tokens=BearerTokens(path))
    stand.stored.add(*(made_up_bar(open_time=NOW - ago * MINUTE) for ago in range(50, 0, -1)))
    return stand


@pytest.mark.parametrize(
    "path", ["/api/symbols", "/api/bars?symbol=BTCUSDT", "/api/stream?symbol=BTCUSDT", "/metrics"]
)
async def test_bars_and_metrics_need_a_token(stand: Stand, path: str) -> None:
    with trio.fail_after(10):
        async with stand.serving() as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
            answer = await client.get(path)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert "Authorization: Bearer" in answer.json()["error"]
            wrong = await client.get(path, headers={"Authorization": "Bearer something-else-of-letters"})
            assert wrong.status_code == 401
            async with client.stream("GET", path, headers={"Authorization": f"Bearer {TOKEN}"}) as right:
                assert right.status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/", "/chart.js"])
async def test_probes_and_the_empty_page_need_none(stand: Stand, path: str) -> None:
    with trio.fail_after(10):
        async with stand.serving() as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
            assert (await client.get(path)).status_code == 200


async def test_cookie_is_http_only(stand: Stand) -> None:
    """A browser gets a cookie that scripts cannot read."""
    with trio.fail_after(10):
        async with stand.serving() as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
            assert (await client.post("/api/token")).status_code == 401
            answer = await client.post("/api/token", headers={"Authorization": f"Bearer {TOKEN}"})
            assert answer.status_code == 204
            cookie = answer.headers["set-cookie"].lower()
            assert "httponly" in cookie
            assert "samesite=strict" in cookie
            assert (await client.get("/api/symbols")).status_code == 200


@pytest.mark.parametrize(
    ("headers", "secure"),
    [
        ({}, False),
        ({"X-Forwarded-Proto": "http"}, False),
        ({"X-Forwarded-Proto": "https"}, True),
        ({"X-Forwarded-Proto": "HTTPS, http"}, True),
    ],
)
async def test_a_cookie_got_over_tls_stays_there(stand: Stand, headers: dict[str, str], secure: bool) -> None:
    """Behind a proxy that ends TLS the cookie is Secure; in clear it could not be used if it were."""
    with trio.fail_after(10):
        async with stand.serving() as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
            answer = await client.post("/api/token", headers={"Authorization": f"Bearer {TOKEN}", **headers})
            assert ("; secure" in answer.headers["set-cookie"].lower()) == secure


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer " + "A" * 10_000},
        {"Authorization": b"Bearer \xff\xfe"},
        {"Authorization": "Basic Og=="},
        {"Cookie": "candled_token"},
        {"Cookie": 'candled_token="\\377\\012"'},
        {"Cookie": "candled_token=" + '"' + "\\" * 8_000},
        {"Cookie": b"\xff=\xff; candled_token=\xff"},
    ],
    ids=str,
)
async def test_odd_credentials_are_no_token(stand: Stand, headers: dict[str, Any]) -> None:
    """Credentials of any bytes and length are refused like wrong ones."""
    with trio.fail_after(10):
        async with stand.serving() as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
            assert (await client.get("/api/symbols", headers=headers)).status_code == 401
            assert (await client.post("/api/token", headers=headers)).status_code == 401


async def test_a_new_token_counts_without_a_restart(stand: Stand, tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with stand.serving() as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
            (tmp_path / "tokens").write_text("another-token-of-letters\n")
            old = await client.get("/api/symbols", headers={"Authorization": f"Bearer {TOKEN}"})
            new = await client.get("/api/symbols", headers={"Authorization": "Bearer another-token-of-letters"})
            assert (old.status_code, new.status_code) == (401, 200)


async def give(page: Page, token: str) -> None:
    """Type a token and send it, once the page takes one."""
    await page.wait_for("document.getElementById('connection-text').textContent === 'a token is needed'")
    await page.evaluate(f"document.getElementById('token-value').value = '{token}'")
    await page.evaluate("document.getElementById('token').requestSubmit()")


async def test_chart_asks_for_the_token(page: Page, stand: Stand) -> None:
    """The chart asks for the token and opens with it."""
    with trio.fail_after(40):
        async with stand.serving() as address:
            await page.open(f"http://{address}/")
            await page.wait_for("!document.getElementById('token').hidden")
            await give(page, "wrong")
            await page.wait_for("document.getElementById('notice').textContent.includes('does not accept')")
            await give(page, TOKEN)
            await page.wait_for("document.body.dataset.state === 'live' && candled.drawn().length === 50")
            assert await page.evaluate("document.getElementById('token').hidden")
            assert TOKEN not in await page.evaluate("document.cookie")
