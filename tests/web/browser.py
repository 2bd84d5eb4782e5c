"""Headless Chromium over its DevTools protocol, driven from Trio: what the chart's tests and pictures need."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx
import trio
from trio_websocket import WebSocketConnection, open_websocket_url

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find_browser() -> str | None:
    """A Chromium of this machine: ``CANDLED_TEST_BROWSER`` if set, else the first of the usual names."""
    if named := os.environ.get("CANDLED_TEST_BROWSER"):
        return named
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class PageChangedError(Exception):
    """The page went elsewhere while an expression was evaluated."""


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
            if "context" in answer["error"]["message"]:
                raise PageChangedError(answer["error"]["message"])
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
            while True:
                try:
                    if await self.evaluate(f"(() => {{ try {{ return Boolean({expression}) }} catch {{}} }})()"):
                        return
                except PageChangedError:
                    pass
                await trio.sleep(0.05)
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

    async def press(self, key: str) -> None:
        """A key, as the element with the focus gets it."""
        await self.call("Input.dispatchKeyEvent", type="keyDown", key=key)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def picture(self, path: Path) -> None:
        """Save what is seen as PNG."""
        answer = await self.call("Page.captureScreenshot", format="png")
        await trio.Path(path).write_bytes(base64.b64decode(answer["data"]))

    async def read(self) -> None:
        """Take what the browser says, until cancelled."""
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


@contextmanager
def running(browser: str) -> Iterator[int]:
    """A browser with a profile of its own that is gone afterwards; gives the port of its DevTools protocol."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--hide-scrollbars", "--force-color-profile=srgb", "--remote-debugging-port=0",
            f"--user-data-dir={profile}", "about:blank",
        ]  # fmt: skip
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                yield _port(Path(profile) / "DevToolsActivePort")
            finally:
                process.kill()


@asynccontextmanager
async def open_page(port: int, *, dark: bool = True) -> AsyncIterator[Page]:
    """A page of its own in a running browser, without cookies or storage of other pages."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as devtools:
        root = (await devtools.get("/json/version")).json()["webSocketDebuggerUrl"]
        async with open_websocket_url(root) as socket, trio.open_nursery() as nursery:
            browser = Page(socket)
            nursery.start_soon(browser.read)
            context = await browser.call("Target.createBrowserContext")
            try:
                created = await browser.call("Target.createTarget", url="about:blank", **context)
                async with _attached(f"ws://127.0.0.1:{port}/devtools/page/{created['targetId']}") as page:
                    await page.prefer("dark" if dark else "light")
                    await page.size(1200, 760)
                    yield page
            finally:
                # Else the page would live on, and try to reach its daemon for ever.
                with trio.CancelScope(shield=True), trio.move_on_after(10):
                    await browser.call("Target.disposeBrowserContext", **context)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def _attached(address: str) -> AsyncIterator[Page]:
    async with (
        open_websocket_url(address, max_message_size=64 * 1024 * 1024) as socket,
        trio.open_nursery() as nursery,
    ):
        page = Page(socket)
        nursery.start_soon(page.read)
        for domain in ("Page", "Runtime", "Log"):
            await page.call(f"{domain}.enable")
        yield page
        nursery.cancel_scope.cancel()


def _port(path: Path) -> int:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if path.exists() and (words := path.read_text().split()):
            return int(words[0])
        time.sleep(0.05)
    raise RuntimeError("the browser did not start within 30 s")
