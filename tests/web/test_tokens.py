"""Bearer tokens on the HTTP port: what is guarded, what is open, and how a browser gets in."""

import httpx
import pytest
import trio

from candled.domain.interval import MINUTE
from candled.stream.access import BearerTokens
from tests.web.stand import NOW, Stand, made_up_bar

TOKEN = "a-token-of-many-letters"


@pytest.fixture
def stand(tmp_path) -> Stand:
    path = tmp_path / "tokens"
    path.write_text(f"{TOKEN}\n")
    stand = Stand(tokens=BearerTokens(path))
    stand.stored.add(*(made_up_bar(open_time=NOW - ago * MINUTE) for ago in range(50, 0, -1)))
    return stand


@pytest.mark.parametrize(
    "path", ["/api/symbols", "/api/bars?symbol=BTCUSDT", "/api/stream?symbol=BTCUSDT", "/metrics"]
)
async def test_bars_and_metrics_need_a_token(stand, path) -> None:
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
async def test_probes_and_the_empty_page_need_none(stand, path) -> None:
    with trio.fail_after(10):
        async with stand.serving() as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
            assert (await client.get(path)).status_code == 200


async def test_a_browser_gets_a_cookie_that_scripts_cannot_read(stand) -> None:
    with trio.fail_after(10):
        async with stand.serving() as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
            assert (await client.post("/api/token")).status_code == 401
            answer = await client.post("/api/token", headers={"Authorization": f"Bearer {TOKEN}"})
            assert answer.status_code == 204
            cookie = answer.headers["set-cookie"].lower()
            assert "httponly" in cookie
            assert "samesite=strict" in cookie
            assert (await client.get("/api/symbols")).status_code == 200


async def test_a_new_token_counts_without_a_restart(stand, tmp_path) -> None:
    with trio.fail_after(10):
        async with stand.serving() as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
            (tmp_path / "tokens").write_text("another-token-of-letters\n")
            old = await client.get("/api/symbols", headers={"Authorization": f"Bearer {TOKEN}"})
            new = await client.get("/api/symbols", headers={"Authorization": "Bearer another-token-of-letters"})
            assert (old.status_code, new.status_code) == (401, 200)


async def give(page, token):
    """Type a token and send it, once the page takes one."""
    await page.wait_for("document.getElementById('connection-text').textContent === 'a token is needed'")
    await page.evaluate(f"document.getElementById('token-value').value = '{token}'")
    await page.evaluate("document.getElementById('token').requestSubmit()")


async def test_the_chart_asks_for_the_token_and_opens_with_it(page, stand) -> None:
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
