"""One connection to a cluster of NATS servers, which moves to another server by itself.

State: the open subscriptions, which are made again on each connection; requests that wait for an answer, which end
without one when the connection is lost; and the bytes to send, which one task sends as they are.

A server that ends the connection is followed by the next one. One that only falls silent is left when another
server, or a new connection to the same one, answers before it does. Where all are slow, waiting is better than
moving, and no time limit has to know how slow they are; messages are sent on meanwhile, and count as lost later.

Messages go to plain functions, called by the task that reads: they return soon and do not wait.
"""

import random
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import structlog
import trio

from candled.bus.nats.protocol import (
    PING,
    PONG,
    Info,
    Message,
    Parser,
    Ping,
    Pong,
    ProtocolError,
    Received,
    ServerError,
    encode_connect,
    encode_publish,
    encode_subscribe,
    encode_unsubscribe,
)

DEFAULT_PORT: Final = 4222
CONNECT_SECONDS: Final = 5.0
"""For one server, from its name to its answer."""
NEXT_SECONDS: Final = 0.25
"""After which the next server is tried as well; the first to answer is used."""
RETRY_SECONDS: Final = 0.05
"""Between a lost connection, or a server that does not answer, and the next server."""
PING_SECONDS: Final = 0.15
PINGS_MISSED_MAX: Final = 3
"""Pings without any byte from the server after which it counts as silent."""
LOST_SECONDS: Final = 2.0
"""Of silence without another server that answers, after which the connection counts as lost."""
READ_BYTES: Final = 1 << 16
UNSENT_BYTES_MAX: Final = 8 << 20
"""Bytes that may wait to be sent; beyond, ``publish`` refuses."""
REQUEST_SECONDS: Final = 2.0
TOGETHER_MAX: Final = 50
"""Messages passed on in one turn of the event loop: each may take a tenth of a millisecond."""
CLOSED: Final = "the server closed the connection"
"""Why a connection ended, where nothing else says it."""

SILENT: Final = "the server does not answer"
"""Why a connection was left for another one."""
_NOBODY: Final = 503
_log = structlog.get_logger(__name__)

OnMessage = Callable[[Message], None]
OnAnswer = Callable[[Message | None], None]
"""Takes the answer to a request; None: there will be none."""


class NoAnswerError(Exception):
    """A request was not answered: no connection, nobody there, or too late. The text says which."""


@attrs.frozen(kw_only=True)
class NatsOptions:
    """How to connect.

    Attributes:
        urls: ``nats://host:port`` or ``tls://host:port`` of each server.
        name: of this client, as the server's lists show it.
        login: fields of CONNECT that say who this client is.
        tls: context for ``tls://`` servers.
    """

    urls: Sequence[str]
    name: str
    login: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    tls: ssl.SSLContext | None = None


@attrs.define(eq=False)
class Subscription:
    """An open subscription."""

    subject: str
    sid: int
    on_message: OnMessage
    queue: str


class Nats:
    """The connection. Made by ``open_nats``."""

    def __init__(self, options: NatsOptions, rng: random.Random) -> None:
        self._options = options
        self._urls = list(options.urls)
        """The one in use comes first."""
        self._subscriptions: dict[int, Subscription] = {}
        self._sids = 0
        self._inbox = f"_INBOX.{rng.getrandbits(96):024x}"
        self._asked: dict[str, OnAnswer] = {}
        self._asks = 0
        self._unsent = bytearray()
        self._has_unsent = trio.Event()
        self._link: _Link | None = None
        self.failure = "The bus has not been reached yet."
        """Why there is no connection, in a sentence."""
        self.connects = 0
        self._connected = _Flag()
        self._answering = _Flag()
        self.subscribe(f"{self._inbox}.*", self._take_answer)

    @property
    def is_connected(self) -> bool:
        """Whether messages can be sent now."""
        return self._connected.is_set

    @property
    def is_answering(self) -> bool:
        """Whether the server connected to answers."""
        return self._answering.is_set

    @property
    def server(self) -> str:
        """Host and port of the server connected to; empty: none."""
        return "" if self._link is None else shown(self._link.url)

    async def wait_connected(self) -> None:
        """Return once connected."""
        await self._connected.wait(value=True)

    async def wait_answering(self, *, value: bool) -> None:
        """Return once ``is_answering`` is so."""
        await self._answering.wait(value=value)

    def publish(
        self, subject: str, payload: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> bool:
        """Send a message, without waiting; return whether it will be: not without a connection that takes it."""
        if self._link is None or not self.is_connected or len(self._unsent) > UNSENT_BYTES_MAX:
            return False
        if len(payload) > self._link.payload_max:  # the server would end the connection
            _log.error("message too large for the bus", subject=subject, bytes=len(payload))
            return False
        self._send(encode_publish(subject, payload, reply, headers))
        return True

    def subscribe(self, subject: str, on_message: OnMessage, queue: str = "") -> Subscription:
        """Have ``on_message`` called with each message of a subject until ``unsubscribe``.

        Args:
            subject: may hold wildcards.
            on_message: plain, called by the reading task.
            queue: of all clients with one name of a queue, one gets each message.
        """
        self._sids += 1
        subscription = Subscription(subject, self._sids, on_message, queue)
        self._subscriptions[self._sids] = subscription
        if self._link is not None:
            self._send(encode_subscribe(subject, subscription.sid, queue))
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription."""
        if self._subscriptions.pop(subscription.sid, None) is not None and self._link is not None:
            self._send(encode_unsubscribe(subscription.sid))

    def new_inbox(self) -> str:
        """Return a subject that nobody else uses."""
        self._asks += 1
        return f"{self._inbox}.box.{self._asks}"

    def ask(
        self, subject: str, payload: bytes, on_answer: OnAnswer, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a request; ``on_answer`` is called once, unless the answer never comes while connected."""
        self._asks += 1
        reply = f"{self._inbox}.{self._asks}"
        self._asked[reply] = on_answer
        if not self.publish(subject, payload, reply=reply, headers=headers):
            del self._asked[reply]
            on_answer(None)

    async def request(self, subject: str, payload: bytes = b"", seconds: float = REQUEST_SECONDS) -> Message:
        """Send a request and return its answer.

        Raises:
            NoAnswerError: there was none within ``seconds``.
        """
        answers: list[Message | None] = []
        answered = trio.Event()

        def take(answer: Message | None) -> None:
            answers.append(answer)
            answered.set()

        self.ask(subject, payload, take)
        with trio.move_on_after(seconds):
            await answered.wait()
        if not answers:
            raise NoAnswerError(f"no answer within {seconds:g} s")
        if answers[0] is None:
            raise NoAnswerError("not connected")
        if answers[0].status == _NOBODY:
            raise NoAnswerError("nobody answers")
        return answers[0]

    async def run(self) -> None:
        """Connect, and reconnect whenever the connection is lost, until cancelled."""
        while True:
            link = await self._first_to_answer(self._urls)
            while link is not None:
                while self._urls[0] != link.url:
                    self._urls.append(self._urls.pop(0))
                async with link.stream:
                    await self._serve(link)
                link = link.replacement
            self._urls.append(self._urls.pop(0))
            await trio.sleep(RETRY_SECONDS)

    async def _first_to_answer(self, urls: Sequence[str]) -> "_Link | None":
        """Connect to the first server, and to one more whenever those before have not answered soon."""
        found: list[_Link] = []
        try:
            async with trio.open_nursery() as race:
                for url in urls:
                    over = trio.Event()
                    race.start_soon(self._try, url, found, over, race.cancel_scope)
                    with trio.move_on_after(NEXT_SECONDS):
                        await over.wait()
            return found.pop(0) if found else None
        finally:
            for link in found:  # too late, or nobody waits for it any more
                await trio.aclose_forcefully(link.stream)

    async def _try(self, url: str, found: "list[_Link]", over: trio.Event, race: trio.CancelScope) -> None:
        try:
            with trio.fail_after(CONNECT_SECONDS):
                found.append(await self._connect(url))
            race.cancel()
        except (OSError, trio.TooSlowError, trio.BrokenResourceError, ProtocolError, ssl.SSLError) as error:
            self._note_failure(url, error)
        over.set()

    def _note_failure(self, url: str, error: BaseException) -> None:
        text = str(error) or str(error.__cause__ or type(error).__name__)  # Trio's own errors have no text
        reason = "no answer in time" if isinstance(error, trio.TooSlowError) else text
        failure = f"The bus at {shown(url)} cannot be reached: {reason.rstrip('.')}."
        if failure != self.failure:
            _log.warning("bus not reached", server=shown(url), reason=reason)
        self.failure = failure

    async def _connect(self, url: str) -> "_Link":
        """Open a connection up to the server's answer to the first PING.

        Raises:
            OSError: no connection.
            ProtocolError: the server refused, or is not one of NATS.
        """
        parts = urlsplit(url)
        host = parts.hostname or ""
        stream: trio.abc.Stream = await trio.open_tcp_stream(host, parts.port or DEFAULT_PORT)
        try:
            parser = Parser()
            info = await _receive_until(stream, parser, Info)
            if parts.scheme == "tls" or info.fields.get("tls_required"):
                context = self._options.tls or ssl.create_default_context()
                stream = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
            await stream.send_all(encode_connect(self._login()) + PING)
            await _receive_until(stream, parser, Pong)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return _Link(url, stream, parser, int(info.fields.get("max_payload", 0)))

    def _login(self) -> dict[str, Any]:
        return {
            "verbose": False,
            "pedantic": False,
            "lang": "python",
            "version": "1",
            "protocol": 1,
            "headers": True,
            "no_responders": True,
            "echo": False,
            "name": self._options.name,
            **self._options.login,
        }

    async def _serve(self, link: "_Link") -> None:
        """Read and send until the connection is lost, or another one takes its place."""
        self._link = link
        self.connects += 1
        self._unsent = bytearray()
        for subscription in self._subscriptions.values():
            self._send(encode_subscribe(subscription.subject, subscription.sid, subscription.queue))
        self._connected.set(value=True)
        self._answering.set(value=True)
        _log.info("bus connected", server=self.server)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, link, nursery.cancel_scope)
                nursery.start_soon(self._watch, link, nursery.cancel_scope)
                await self._read(link)
                nursery.cancel_scope.cancel()
            _log.warning("bus connection lost", server=self.server, reason=link.reason or CLOSED)
        finally:
            self._suspend(link, link.reason or CLOSED)
            self._link = None

    def _suspend(self, link: "_Link", reason: str) -> None:
        """Count the connection as lost."""
        if self.is_connected:
            self.failure = f"The connection to the bus at {shown(link.url)} was lost: {reason}."
        self._connected.set(value=False)
        self._answering.set(value=False)
        asked, self._asked = self._asked, {}
        for on_answer in asked.values():
            on_answer(None)

    async def _read(self, link: "_Link") -> None:
        """Pass on messages until the connection ends."""
        try:
            while data := await link.stream.receive_some(READ_BYTES):
                link.missed = 0
                link.heard.set()
                for number, received in enumerate(link.parser.feed(bytes(data)), 1):
                    self._take(received, link)
                    if number % TOGETHER_MAX == 0:
                        await trio.lowlevel.checkpoint()
        except (trio.BrokenResourceError, trio.ClosedResourceError, ProtocolError) as error:
            link.reason = link.reason or str(error) or "connection reset"

    def _take(self, received: Received, link: "_Link") -> None:
        if isinstance(received, Message):
            subscription = self._subscriptions.get(received.sid)
            if subscription is not None:
                subscription.on_message(received)
        elif isinstance(received, Ping):
            self._send(PONG)
        elif isinstance(received, ServerError):
            link.reason = received.text

    async def _write(self, link: "_Link", scope: trio.CancelScope) -> None:
        """Send what waits, all that waits at once."""
        try:
            while True:
                if not self._unsent:
                    self._has_unsent = trio.Event()
                    await self._has_unsent.wait()
                unsent, self._unsent = self._unsent, bytearray()
                await link.stream.send_all(unsent)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            link.reason = link.reason or "connection reset"
            scope.cancel()

    async def _watch(self, link: "_Link", scope: trio.CancelScope) -> None:
        """Replace a connection whose server falls silent, once another connection answers before it does."""
        while link.replacement is None:
            if link.missed < PINGS_MISSED_MAX:
                link.missed += 1
                self._send(PING)
                await trio.sleep(PING_SECONDS)
                continue
            self._answering.set(value=False)
            _log.warning("bus silent", server=self.server)
            link.replacement = await self._other_to_answer(link)
            if link.replacement is None:
                self._connected.set(value=True)
                self._answering.set(value=True)
                _log.info("bus answers again", server=self.server)
        link.reason = link.reason or SILENT
        scope.cancel()

    async def _other_to_answer(self, link: "_Link") -> "_Link | None":
        """Return a new connection, unless the one in use answers before; the server in use is tried last."""
        link.heard = trio.Event()
        found: _Link | None = None
        async with trio.open_nursery() as race:

            async def wait_for_first() -> None:
                await link.heard.wait()
                race.cancel_scope.cancel()

            async def wait_for_neither() -> None:
                await trio.sleep(LOST_SECONDS)
                self._suspend(link, SILENT)

            race.start_soon(wait_for_first)
            race.start_soon(wait_for_neither)
            while found is None:
                found = await self._first_to_answer([*self._urls[1:], self._urls[0]])
                if found is None:
                    await trio.sleep(RETRY_SECONDS)
            race.cancel_scope.cancel()
        return found

    def _send(self, data: bytes) -> None:
        self._unsent += data
        self._has_unsent.set()

    def _take_answer(self, message: Message) -> None:
        on_answer = self._asked.pop(message.subject, None)
        if on_answer is not None:
            on_answer(message)


@attrs.define(eq=False)
class _Link:
    """One connection while it lasts."""

    url: str
    stream: trio.abc.Stream
    parser: Parser
    payload_max: int
    """Bytes that the server takes in one message."""
    missed: int = 0
    """Pings since the last byte from the server."""
    heard: trio.Event = attrs.Factory(trio.Event)
    """Set by the next byte from the server, once it was silent."""
    reason: str = ""
    """Why it ended."""
    replacement: "_Link | None" = None
    """What takes its place."""


class _Flag:
    """Something that is so or not, which can be waited for."""

    def __init__(self) -> None:
        self.is_set = False
        self._changed = trio.Event()

    def set(self, *, value: bool) -> None:
        """Change it."""
        if value is not self.is_set:
            self.is_set = value
            self._changed.set()
            self._changed = trio.Event()

    async def wait(self, *, value: bool) -> None:
        """Return once it is so."""
        while self.is_set is not value:
            await self._changed.wait()


async def _receive_until(stream: trio.abc.Stream, parser: Parser, kind: type[Any]) -> Any:
    """Return the first operation of a kind.

    Raises:
        ProtocolError: the server refused, or closed the connection.
    """
    while data := await stream.receive_some(READ_BYTES):
        for received in parser.feed(bytes(data)):
            if isinstance(received, ServerError):
                raise ProtocolError(received.text)
            if isinstance(received, kind):
                return received
    raise ProtocolError(CLOSED)


def shown(url: str) -> str:
    """Return a server's URL as host and port."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or DEFAULT_PORT}"


@asynccontextmanager
async def open_nats(options: NatsOptions, rng: random.Random) -> AsyncIterator[Nats]:
    """Keep a connection to the bus while inside; it may not be there yet when this yields.

    Args:
        options: how to connect.
        rng: makes subjects for answers that nobody else uses.
    """
    nats = Nats(options, rng)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(nats.run)
        yield nats
        nursery.cancel_scope.cancel()
