"""One check at the start covers every private attribute of every library in use."""

import ast
import inspect
import re
from collections.abc import Iterator
from types import ModuleType

import pytest
import structlog.testing
import trio
import trio.testing
from grpclib.server import Server
from trio_websocket import WebSocketConnection

from candled.daemon.private_attributes import check_private_attributes, require_private_attributes
from candled.errors import UserError
from candled.feed.transport import trio_websocket_reader
from candled.feed.transport.trio_websocket_reader import MeteredStream, TrioWebsocketFrames
from candled.stream.grpc.internals import bridge, connections, fast_path

MODULES = {module.__name__: module for module in (trio_websocket_reader, bridge, connections, fast_path)}


class Gone:
    """An attribute that a class does not have, whatever its own code sets."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: object = None) -> object:
        raise AttributeError(self.name)

    def __set__(self, instance: object, value: object) -> None:
        pass


async def samples() -> list[tuple[str, type, str]]:
    """Module, class and name of every attribute that is checked."""

    async def look() -> list[tuple[str, type, str]]:
        return [
            (name, type(sample), attribute)
            for name, module in MODULES.items()
            for sample, attribute in module.private_attributes()
        ]

    async with bridge.open_asyncio():
        return await bridge.run_asyncio(look)


CHECKED = trio.run(samples)


def private_names(module: ModuleType) -> Iterator[str]:
    """Private names that a module's code takes from objects other than its own."""
    tree = ast.parse(inspect.getsource(module))
    own = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and _is_self(node.value)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr not in own and not _is_self(node.value):
            yield from re.findall(r"^_[a-z].*", node.attr)


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


async def test_the_installed_libraries_fit() -> None:
    """With the pinned versions nothing is missing."""
    assert await check_private_attributes() == []


@pytest.mark.parametrize(
    ("module", "owner", "name"),
    [checked for checked in CHECKED if checked[0] != bridge.__name__],
    ids=lambda value: getattr(value, "__name__", value),
)
async def test_a_missing_attribute(monkeypatch: pytest.MonkeyPatch, module: str, owner: type, name: str) -> None:
    """Each attribute that a library would lose is reported for the module that uses it."""
    monkeypatch.setattr(owner, name, Gone(name), raising=False)
    reasons = {obstacle.module: obstacle.reason for obstacle in await check_private_attributes()}
    assert name in reasons[module]


async def test_a_missing_attribute_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop's own, which no loop could run without, is reported too."""
    monkeypatch.setattr("asyncio.get_running_loop", object)
    (obstacle,) = [each for each in await check_private_attributes() if each.module == bridge.__name__]
    assert obstacle.reason == "builtins.object has no _main_loop_one"


@pytest.mark.parametrize("module", MODULES.values(), ids=list(MODULES))
def test_every_use_is_checked(module: ModuleType) -> None:
    """No module uses a private attribute that the check does not look for."""
    assert set(private_names(module)) <= {name for _, _, name in CHECKED}


async def test_the_daemon_says_what_is_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attribute that only speed needs is logged, and the daemon starts."""
    monkeypatch.setattr(WebSocketConnection, "_recv_channel", Gone("_recv_channel"), raising=False)
    with structlog.testing.capture_logs() as logs:
        await require_private_attributes()
    assert [(line["event"], line["effect"]) for line in logs] == [
        ("installed library differs", "trio-websocket, if it is set, reads frames one by one")
    ]


async def test_the_daemon_does_not_start_without_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attribute that the limits on clients need is an error with what to do."""
    monkeypatch.setattr(Server, "_mapping", Gone("_mapping"), raising=False)
    with pytest.raises(UserError, match=r"_mapping.*Install the versions that candled names"):
        await require_private_attributes()


async def test_frames_come_without_the_queue() -> None:
    """A websocket connection whose queue is not there gives its frames one by one, and its limits hold."""

    class Connection:
        def __init__(self) -> None:
            self.frames = ["one", "two"]

        async def get_message(self) -> str:
            return self.frames.pop(0)

    meter = MeteredStream(trio.testing.memory_stream_pair()[0])
    meter.unanswered = 5
    frames = TrioWebsocketFrames(Connection(), meter)  # type: ignore[arg-type]
    assert [await frames.receive(), await frames.receive()] == [["one"], ["two"]]
    assert meter.unanswered == 0
