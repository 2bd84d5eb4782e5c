"""Headless Chromium over its DevTools protocol, driven from Trio: what the chart's tests and pictures need."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio
from trio_websocket import WebSocketConnection, open_websocket_url

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find_browser() -> str | None:
    """A Chromium of this machine: ``CANDLED_TEST_BROWSER`` if set, else the first of the usual names."""
    if named := os.environ.get("CANDLED_TEST_BROWSER"):
        return named
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@attrs.define
class Page:
    """One page. ``problems`` are errors of the console and of scripts, in order."""

    _socket: WebSocketConnection
    problems: list[str] = attrs.field(factory=list)
    _answers: dict[int, Any] = attrs.field(factory=dict)
    _waiting: dict[int, trio.Event] = attrs.field(factory=dict)

    async def call(self, method: str, **parameters: Any) -> Any:
        """One command of the protocol."""
        number = len(self._waiting) + 1
        done = self._waiting[number] = trio.Event()
        await self._socket.send_message(json.dumps({"id": number, "method": method, "params": parameters}))
        await done.wait()
        answer = self._answers.pop(number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; promises are awaited."""
        result = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    async def wait_for(self, expression: str, seconds: float = 15) -> None:
        """Until the expression is true.

        Raises:
            AssertionError: it does not become true in time; says what the page shows.
        """
        with trio.move_on_after(seconds):
            while not await self.evaluate(f"Boolean({expression})"):
                await trio.sleep(0.05)
            return
        text = await self.evaluate("document.body.innerText")
        raise AssertionError(f"never true: {expression}\nproblems: {self.problems}\npage:\n{text}")

    async def open(self, url: str) -> None:
        """Go there."""
        await self.call("Page.navigate", url=url)

    async def size(self, width: int, height: int, *, phone: bool = False, scale: float = 1) -> None:
        """Change the size of the window."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone
        )

    async def prefer(self, scheme: str) -> None:
        """Dark or light, as the system would say."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.call("Emulation.setEmulatedMedia", features=features)

    async def move_mouse(self, x: float, y: float) -> None:
        """Hover."""
        await self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    async def picture(self, path: Path) -> None:
        """Save what is seen as PNG."""
        answer = await self.call("Page.captureScreenshot", format="png")
        await trio.Path(path).write_bytes(base64.b64decode(answer["data"]))

    async def _read(self) -> None:
        while True:
            message = json.loads(await self._socket.get_message())
            if (number := message.get("id")) is not None:
                self._answers[number] = message
                self._waiting[number].set()
            elif message["method"] == "Runtime.exceptionThrown":
                self.problems.append(json.dumps(message["params"]["exceptionDetails"]))
            elif message["method"] == "Runtime.consoleAPICalled" and message["params"]["type"] in (
                "error",
                "assert",
            ):
                self.problems.append(json.dumps(message["params"]["args"]))
            elif message["method"] == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                self.problems.append(json.dumps(message["params"]["entry"]))


@asynccontextmanager
async def open_page(browser: str, *, dark: bool = True) -> AsyncIterator[Page]:
    """A page in a browser of its own, with a profile of its own that is gone afterwards."""
    with tempfile.TemporaryDirectory() as profile:
        command = [
            browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--hide-scrollbars", "--force-color-profile=srgb", "--remote-debugging-port=0",
            f"--user-data-dir={profile}", "about:blank",
        ]  # fmt: skip
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            port = await _port(trio.Path(profile) / "DevToolsActivePort")
            target = await _first_page(port)
            async with open_websocket_url(target, max_message_size=64 * 1024 * 1024) as socket:
                page = Page(socket)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(page._read)
                    for domain in ("Page", "Runtime", "Log"):
                        await page.call(f"{domain}.enable")
                    await page.prefer("dark" if dark else "light")
                    await page.size(1200, 760)
                    yield page
                    nursery.cancel_scope.cancel()
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


async def _port(path: trio.Path) -> int:
    with trio.fail_after(30):
        while True:
            if await path.exists() and (words := (await path.read_text()).split()):
                return int(words[0])
            await trio.sleep(0.05)


async def _first_page(port: int) -> str:
    import httpx

    async with httpx.AsyncClient() as client:
        targets = (await client.get(f"http://127.0.0.1:{port}/json")).json()
    return next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page")
