"""The calls of JetStream in use: make and look up the stream that is the log, append, and read in order."""

import random
from collections.abc import Callable
from typing import Any, Final

import attrs
import msgspec
import structlog
import trio

from candled.bus.incarnation import Continuation, LogState, judge
from candled.bus.nats.connection import REQUEST_SECONDS, Nats, NoAnswerError
from candled.bus.nats.protocol import Message

API: Final = "$JS.API"
EXPECTED_SEQUENCE: Final = "Nats-Expected-Last-Subject-Sequence"
IDENTITY_KEY: Final = "candled-log"
EXCHANGE_KEY: Final = "candled-exchange"

NOT_FOUND: Final = 10_059
"""Code of JetStream's error: there is no such stream."""
NAME_IN_USE: Final = 10_058
"""There is one, with another configuration."""
WRONG_SEQUENCE: Final = frozenset({10_071, 10_164})
"""The last entry is not the expected one."""
NO_MESSAGE: Final = 10_037
"""No message was found."""

HEARTBEAT_SECONDS: Final = 0.1
"""Between two signs of life of a reader's consumer: the shortest that JetStream allows."""
SILENT_MAX: Final = 6
"""Heartbeats missed in a row after which the consumer counts as gone."""
RETRY_SECONDS: Final = 0.1
DOUBTS_MAX: Final = 10
"""Times in a row that the log must be found gone or replaced."""
LOOK_SECONDS: Final = 0.5
"""For an answer of the log's leader; while one is elected, there is none."""
_CONSUMER_IDLE_SECONDS: Final = 30
_HEARTBEAT_STATUS: Final = 100
_NANOSECONDS: Final = 1_000_000_000
_log = structlog.get_logger(__name__)


class JetStreamError(Exception):
    """JetStream refused a call.

    Attributes:
        code: its number for the reason.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class LogReplacedError(Exception):
    """The log is not the one that was read before, or lacks entries that were not read; the text says which."""


@attrs.frozen(kw_only=True)
class LogOptions:
    """The stream that is the log."""

    name: str
    subjects: str
    exchange: str
    """Identity of the exchange, recorded when the stream is made."""
    replicas: int
    age_seconds: float
    """After which entries are removed."""


class JetStream:
    """Calls of JetStream over one connection."""

    def __init__(self, nats: Nats) -> None:
        self.nats = nats

    async def call(self, name: str, body: Any = None, seconds: float = REQUEST_SECONDS) -> dict[str, Any]:
        """Call an API of JetStream.

        Args:
            name: of the call, as in its subject.
            body: sent as JSON.
            seconds: how long to wait for the answer.

        Raises:
            NoAnswerError: no answer; JetStream may not be there.
            JetStreamError: it refused.
        """
        payload = b"" if body is None else msgspec.json.encode(body)
        answer = _decode((await self.nats.request(f"{API}.{name}", payload, seconds)).payload)
        error = answer.get("error")
        if isinstance(error, dict):
            raise JetStreamError(int(error.get("err_code", 0)), str(error.get("description", "refused")))
        return answer

    async def log_state(self, name: str) -> LogState:
        """Return the log at this moment.

        Raises:
            NoAnswerError: no answer.
            JetStreamError: there is no such stream, or it is not a log of candled's.
        """
        answer = await self.call(f"STREAM.INFO.{name}", seconds=LOOK_SECONDS)
        metadata = answer["config"].get("metadata") or {}
        identity = metadata.get(IDENTITY_KEY, "")
        if not identity:
            raise JetStreamError(0, f"stream {name} was not made by candled: name another exchange, or remove it")
        state = answer["state"]
        first, last = int(state["first_seq"]), int(state["last_seq"])
        return LogState(identity, metadata.get(EXCHANGE_KEY, ""), first, last)

    async def ensure_log(self, options: LogOptions, rng: random.Random) -> LogState:
        """Return the log's state; make it if there is none.

        Args:
            options: what it is like when it is made; one that exists is left as it is.
            rng: makes its identity.

        Raises:
            NoAnswerError: no answer.
            JetStreamError: it cannot be made now.
        """
        try:
            return await self.log_state(options.name)
        except JetStreamError as error:
            if error.code != NOT_FOUND:
                raise
        metadata = {IDENTITY_KEY: f"{rng.getrandbits(64):016x}", EXCHANGE_KEY: options.exchange}
        config = {
            "name": options.name,
            "subjects": [options.subjects],
            "retention": "limits",
            "storage": "file",
            "discard": "old",
            "num_replicas": options.replicas,
            "max_age": round(options.age_seconds * _NANOSECONDS),
            "metadata": metadata,
        }
        try:
            await self.call(f"STREAM.CREATE.{options.name}", config)
            _log.info("log made", stream=options.name, replicas=options.replicas)
        except JetStreamError as error:
            if error.code != NAME_IN_USE:  # another ingester made it just now
                raise
        return await self.log_state(options.name)

    async def is_empty(self, stream: str, subject: str) -> bool:
        """Return whether the log has no entry of a subject.

        Raises:
            NoAnswerError: no answer.
            JetStreamError: refused.
        """
        try:
            await self.call(f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject})
        except JetStreamError as error:
            if error.code == NO_MESSAGE:
                return True
            raise
        return False

    def append(self, subject: str, payload: bytes, expected: int, on_answer: "OnAppended") -> None:
        """Append an entry if the subject's last one has the expected sequence.

        Args:
            subject: of the entry.
            payload: its content.
            expected: sequence of the subject's last entry; 0: it has none.
            on_answer: called once, unless no answer comes while connected.
        """

        def take(answer: Message | None) -> None:
            on_answer(_appended(answer))

        self.nats.ask(subject, payload, take, {EXPECTED_SEQUENCE: str(expected)})


@attrs.frozen(slots=True)
class Appended:
    """The answer to an append."""

    sequence: int = 0
    """Of the entry; 0: it was not stored, or nobody knows."""
    is_refused: bool = False
    """The last entry is not the expected one."""
    reason: str = ""
    """Why it was not stored."""


OnAppended = Callable[[Appended], None]


def _appended(answer: Message | None) -> Appended:
    if answer is None or answer.status:
        return Appended(reason="no answer")
    fields = _decode(answer.payload)
    error = fields.get("error")
    if isinstance(error, dict):
        is_refused = error.get("err_code") in WRONG_SEQUENCE
        return Appended(is_refused=is_refused, reason=str(error.get("description", "")))
    sequence = fields.get("seq")
    return Appended(sequence if isinstance(sequence, int) else 0)


def _decode(payload: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(payload, type=dict[str, Any])
    except msgspec.DecodeError:
        return {"error": {"err_code": 0, "description": "the answer is not JSON"}}


class LogReader:
    """Reads the log in order, each entry once, over lost connections and servers.

    It uses a consumer that lives in memory at one server, and makes another, from the next entry on, whenever
    a delivery is missing or the consumer falls silent.

    Args:
        jetstream: calls.
        stream: name of the log.
        start: the log as it was found.
        take: called with the sequence and the payload of each entry, in order.
        position: sequence of the last entry that is not wanted; 0: all are.
    """

    def __init__(
        self,
        jetstream: JetStream,
        stream: str,
        start: LogState,
        take: Callable[[int, bytes], None],
        position: int = 0,
    ) -> None:
        self._jetstream = jetstream
        self._stream = stream
        self._take = take
        self.identity = start.identity
        self.position = max(position, start.first - 1, 0)
        """Sequence of the newest entry read."""
        self.target = start.last
        """Sequence up to which it must read to know what the log knew when it was asked last."""
        self.caught_up = trio.Event()
        """Set once everything is read that the log had at the beginning."""
        self._note_position()

    async def run(self) -> None:
        """Read until cancelled.

        Raises:
            LogReplacedError: it cannot continue where it was.
        """
        doubts = 0
        while True:
            await self._jetstream.nats.wait_connected()
            try:
                state = await self._jetstream.log_state(self._stream)
                continuation = judge(self.identity, self.position, state)
                if continuation is Continuation.SAME:
                    doubts = 0
                    self.target = state.last
                    await self._read()
                else:
                    doubts += 1
                    self._give_up(f"It cannot be read on: {continuation.value}.", doubts)
            except JetStreamError as error:
                if error.code == NOT_FOUND:
                    doubts += 1
                    self._give_up("The log is gone.", doubts)
                else:
                    _log.warning("log cannot be read now", reason=str(error))
            except NoAnswerError:
                pass  # `run` of the connection says what is the matter with it
            await trio.sleep(RETRY_SECONDS)

    def _give_up(self, reason: str, doubts: int) -> None:
        """Believe that the log was replaced once it was found so several times: a server that starts may lag."""
        if doubts >= DOUBTS_MAX:
            raise LogReplacedError(reason)

    async def _read(self) -> None:
        """Read by one consumer until it is gone."""
        nats = self._jetstream.nats
        consumer = _Consumer(self)
        inbox = nats.new_inbox()
        subscription = nats.subscribe(inbox, consumer.on_message)
        name = inbox.replace(".", "-")
        try:
            await self._jetstream.call(
                f"CONSUMER.CREATE.{self._stream}.{name}",
                {"stream_name": self._stream, "config": self._consumer_config(name, inbox)},
                LOOK_SECONDS,
            )
            await consumer.run()
        finally:
            nats.unsubscribe(subscription)
            nats.publish(f"{API}.CONSUMER.DELETE.{self._stream}.{name}", b"")

    def _consumer_config(self, name: str, inbox: str) -> dict[str, Any]:
        return {
            "name": name,
            "deliver_subject": inbox,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self.position + 1,
            "ack_policy": "none",
            "max_deliver": 1,
            "replay_policy": "instant",
            "flow_control": True,
            "idle_heartbeat": round(HEARTBEAT_SECONDS * _NANOSECONDS),
            "inactive_threshold": _CONSUMER_IDLE_SECONDS * _NANOSECONDS,
            "mem_storage": True,
            "num_replicas": 1,
        }

    def on_entry(self, sequence: int, payload: bytes) -> None:
        """Take the next entry of a consumer."""
        if sequence > self.position:
            self.position = sequence
            self._take(sequence, payload)
            self._note_position()

    def answer(self, subject: str) -> None:
        """Answer JetStream's flow control: everything before was read."""
        self._jetstream.nats.publish(subject, b"")

    @property
    def is_connected(self) -> bool:
        """Whether the connection is there."""
        return self._jetstream.nats.is_connected

    def _note_position(self) -> None:
        if self.position >= self.target:
            self.caught_up.set()


class _Consumer:
    """One consumer: its deliveries are numbered, and a heartbeat says how many there were."""

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader
        self._delivered = 0
        self._silent = 0
        self._is_lost = False

    async def run(self) -> None:
        """Return once a delivery is missing, or the consumer is silent."""
        while not self._is_lost and self._silent < SILENT_MAX and self._reader.is_connected:
            self._silent += 1
            await trio.sleep(HEARTBEAT_SECONDS)

    def on_message(self, message: Message) -> None:
        self._silent = 0
        if self._is_lost:
            return
        if message.status == _HEARTBEAT_STATUS:
            self._on_heartbeat(message)
            return
        try:
            sequence, delivery = parse_delivery(message.reply)
        except ValueError:
            return
        if delivery != self._delivered + 1:
            self._is_lost = True
            return
        self._delivered = delivery
        self._reader.on_entry(sequence, message.payload)

    def _on_heartbeat(self, message: Message) -> None:
        stalled = message.reply or message.headers.get("Nats-Consumer-Stalled", "")
        if stalled:
            self._reader.answer(stalled)
        last = message.headers.get("Nats-Last-Consumer")
        if last is not None and last != str(self._delivered):
            self._is_lost = True


_ACK_FIELDS: Final = 9


def parse_delivery(reply: str) -> tuple[int, int]:
    """Return the sequence of an entry in the log, and the number of its delivery, from its subject for answers.

    Raises:
        ValueError: it is not one of JetStream.
    """
    fields = reply.split(".")
    if fields[:2] != ["$JS", "ACK"] or len(fields) < _ACK_FIELDS:
        raise ValueError(f"not a delivery of JetStream: {reply[:200]}")
    at = 5 if len(fields) == _ACK_FIELDS else 7  # the longer form names a domain and an account first
    return int(fields[at]), int(fields[at + 1])
