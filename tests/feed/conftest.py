"""Tests that take ``library`` run with each of the libraries that can read an exchange's streams."""

import pytest

from candled.feed.transport import websocket
from candled.feed.transport.websocket import DEFAULT_LIBRARY, READERS


@pytest.fixture(params=READERS)
def library(request: pytest.FixtureRequest) -> str:
    """One of the values of ``websocket_library``."""
    return str(request.param)


@pytest.fixture
def each_library(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read by each library in turn, although the test names none."""
    monkeypatch.setattr(websocket, "READERS", {DEFAULT_LIBRARY: READERS[library]})
