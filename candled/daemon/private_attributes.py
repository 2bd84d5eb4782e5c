"""Whether the installed libraries have every private attribute that candled uses, looked at once at the start.

Four modules use some, and no other may (ruff's SLF001 sees to it). Each gives samples of the objects concerned.
"""

from collections.abc import Callable
from typing import Final

import attrs
import structlog

from candled.errors import UserError
from candled.feed.transport import trio_websocket_reader
from candled.stream.grpc.internals import bridge, connections, fast_path

Samples = Callable[[], list[tuple[object, str]]]
"""Gives objects and the name of an attribute that each must have."""

_log = structlog.get_logger(__name__)


@attrs.frozen
class _User:
    """A module that uses private attributes."""

    samples: Samples
    effect: str
    """What follows where one is missing, in words."""
    is_optional: bool = True


_USERS: Final = (
    _User(trio_websocket_reader.private_attributes, "trio-websocket, if it is set, reads frames one by one"),
    _User(bridge.private_attributes, "callbacks run one by one, and calls may fail from Python 3.12 on"),
    _User(fast_path.private_attributes, "streams are written through grpclib's own calls"),
    _User(connections.private_attributes, "limits on clients cannot be kept", is_optional=False),
)


@attrs.frozen
class Obstacle:
    """A module cannot use what it wants to."""

    module: str
    reason: str
    """Which attribute is missing, of what."""
    effect: str
    is_optional: bool
    """The daemon works without it, only slower."""


async def check_private_attributes() -> list[Obstacle]:
    """Look for every private attribute in use; none missing gives an empty list."""
    async with bridge.open_asyncio():
        return await bridge.run_asyncio(_look)


async def require_private_attributes() -> None:
    """Log what is slower with the installed libraries.

    Raises:
        UserError: the daemon cannot keep its limits with them; the text says what to install.
    """
    for obstacle in await check_private_attributes():
        if not obstacle.is_optional:
            raise UserError(
                f"The installed libraries do not fit: {obstacle.reason}. Install the versions that candled names, "
                "for example with pip install --force-reinstall candled."
            )
        _log.warning("installed library differs", reason=obstacle.reason, effect=obstacle.effect)


async def _look() -> list[Obstacle]:
    obstacles = []
    for user in _USERS:
        reason = _missing(user.samples)
        if reason is not None:
            obstacles.append(Obstacle(user.samples.__module__, reason, user.effect, user.is_optional))
    return obstacles


def _missing(samples: Samples) -> str | None:
    try:
        for sample, name in samples():
            if not hasattr(sample, name):
                return f"{type(sample).__module__}.{type(sample).__qualname__} has no {name}"
    except (AttributeError, TypeError, KeyError) as error:
        return f"a sample cannot be made ({error})"
    return None
