"""What every exchange's REST client shares: a request within a weight limit, an answer within bounds of its own.

An exchange's client extends ``RestSource``: it says which endpoints there are and what their answers mean.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, NoReturn, TypeVar

import attrs
import httpcore
import structlog
import trio

from candled.domain.refusal import Refusal, Refused
from candled.feed.errors import KeyWantedError, SourceUnavailableError, UnreadableAnswerError
from candled.feed.headers import Reading
from candled.feed.refusals import RefusalBook
from candled.feed.transport.rate_limit import RollingLimit
from candled.feed.transport.reasons import printable, why_unreachable

SILENCE_SECONDS: Final = 10.0
"""Longest wait for an answer to begin, or to go on."""
MEBIBYTE: Final = 1 << 20
_INLINE_BYTES: Final = MEBIBYTE // 4
"""Longest answer that is decoded where it is read: a page of 1,000 rows, which takes some milliseconds."""
_REFUSAL_BYTES_MAX: Final = MEBIBYTE // 16
"""Read of an answer with another status than 200: an explanation is short, and decoded where it is read."""
_KEEPALIVE_SECONDS: Final = 20.0
"""How long an idle connection is kept for the next request."""
_log = structlog.get_logger(__name__)
_S = TypeVar("_S")
_T = TypeVar("_T")


@attrs.frozen(slots=True)
class Endpoint:
    """What a kind of request costs, and what its answer may cost candled."""

    weight: int
    bytes_max: int
    """Of the answer's body."""
    seconds_max: float
    """From the request to the end of its answer."""


@attrs.frozen(slots=True)
class Answer:
    """An answer, whole."""

    status: int
    headers: Mapping[bytes, bytes]
    """Names in lower case."""
    body: bytes


class RestSource:
    """Requests to the base URLs of one exchange, all within one weight limit."""

    def __init__(self, pool: httpcore.AsyncConnectionPool, base_urls: Sequence[str], weight: RollingLimit) -> None:
        """Make it; nothing is asked yet.

        Args:
            pool: Where requests go.
            base_urls: Tried in turn when one fails.
            weight: Request weight in a minute.
        """
        self._pool = pool
        self._base_urls = [url.rstrip("/") for url in base_urls]
        self._weight = weight
        self._turn = trio.Lock()
        self.requests = 0
        self.failures = 0
        self.bytes = 0
        """Of the answers' bodies."""
        self.refusals = RefusalBook()
        """What was refused of the answers."""

    @property
    def weight_used(self) -> int:
        """Request weight used in the last minute."""
        return self._weight.used(trio.current_time())

    @property
    def weight_limit(self) -> int:
        """Request weight that may be used in a minute."""
        return self._weight.most

    async def _take_weight(self, weight: int, *others: RollingLimit) -> None:
        """Wait until this much weight is free, in the minute and in each of ``others``, and take it."""
        limits = (self._weight, *others)
        async with self._turn:  # one waits at a time, so that first come is first served
            delay = _wait(weight, limits)
            while delay > 0:
                await trio.sleep(delay)
                delay = _wait(weight, limits)
            for limit in limits:
                limit.take(weight, trio.current_time())

    async def _ask_in_turn(self, bases: Sequence[str], ask: Callable[[str], Awaitable[_T]]) -> _T:
        """Ask each base URL until one answers, or the exchange asks to slow down.

        Args:
            bases: Which, in order.
            ask: Asks one. Where it raises ``KeyWantedError``, another one may want no key.

        Raises:
            UnreadableAnswerError: none gave an answer that makes sense.
            SourceUnavailableError: none answered.
            SourceRefusedError: the request itself was refused.
        """
        reasons: list[str] = []
        is_unreadable = True
        for base in bases:
            try:
                answer = await ask(base)
            except KeyWantedError:
                self.failures += 1
            except SourceUnavailableError as error:
                self.failures += 1
                reasons.append(f"{base}: {error}")
                is_unreadable = is_unreadable and isinstance(error, UnreadableAnswerError)
                self._turn_from(base)
                if self._weight.blocked_for(trio.current_time()):
                    break
            else:
                if reasons:
                    _log.warning("another base URL of the exchange answers", url=base, reason="; ".join(reasons))
                return answer
        raise (UnreadableAnswerError if is_unreadable else SourceUnavailableError)("; ".join(reasons))

    def _slow_down(self, answer: Answer, wait: Reading, otherwise: float) -> NoReturn:
        """Ask nothing for as long as the exchange says.

        Args:
            answer: Which asks for that.
            wait: The seconds that it states.
            otherwise: Seconds where it states none.
        """
        now = trio.current_time()
        if wait.refused:
            self._note_header(b"retry-after", answer, now)
        delay = otherwise if wait.value is None else wait.value
        self._weight.block(delay, now)
        _log.warning("exchange asks to slow down", status=answer.status, retry_after_seconds=delay)
        raise SourceUnavailableError(f"status {answer.status}, asks to wait {delay:g} s")

    def _note_header(self, name: bytes, answer: Answer, now: float) -> None:
        if count := self.refusals.note(Refusal.HEADER, now):
            value = printable(answer.headers[name][:60].decode("ascii", "replace"))
            _log.warning("header of the exchange refused", header=name.decode(), count=count, example=value)

    def _turn_from(self, base: str) -> None:
        """Ask this base URL last from now on, if it was asked first: it has failed."""
        if self._base_urls[0] == base:
            self._base_urls.append(self._base_urls.pop(0))

    def _note_refused(self, refused: Sequence[Refused]) -> None:
        now = trio.current_time()
        for each in refused:
            if count := self.refusals.note(each.reason, now):
                _log.error(
                    "rows of the exchange refused",
                    reason=each.reason.value,
                    symbol=each.symbol,
                    count=count,
                    example=each.text,
                )

    async def _fetch(self, url: str, endpoint: Endpoint, headers: Sequence[tuple[str, str]] = ()) -> Answer:
        """Get an answer whole, or fail when its limit of bytes or of time is passed.

        Raises:
            SourceUnavailableError: there is none within its limits.
        """
        self.requests += 1
        body = bytearray()
        started = trio.current_time()
        try:
            with trio.fail_after(min(SILENCE_SECONDS, endpoint.seconds_max)) as scope:
                async with self._pool.stream("GET", url, headers=list(headers)) as response:
                    found = {name.lower(): value for name, value in response.headers}
                    if found.get(b"content-encoding", b"identity").lower() != b"identity":
                        raise SourceUnavailableError("a compressed answer, which was not asked for")
                    async for _ in self._read_body(response, endpoint, body):
                        scope.deadline = min(trio.current_time() + SILENCE_SECONDS, started + endpoint.seconds_max)
        except trio.TooSlowError:
            waited = trio.current_time() - started
            what = f"no end of its answer after {len(body)} bytes" if body else "no answer"
            raise SourceUnavailableError(f"{what} within {waited:.3g} s") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
            raise SourceUnavailableError(printable(why_unreachable(error))) from error
        return Answer(response.status, found, bytes(body))

    async def _read_body(
        self, response: httpcore.Response, endpoint: Endpoint, body: bytearray
    ) -> AsyncIterator[None]:
        """Read an answer's body into ``body``, yielding after each part; no more of a refusal than explains it."""
        async for part in response.aiter_stream():
            if response.status != 200 and len(body) + len(part) > _REFUSAL_BYTES_MAX:
                return  # status and headers say enough
            self.bytes += len(part)
            body += part
            if len(body) > endpoint.bytes_max:
                raise SourceUnavailableError(f"an answer of more than {endpoint.bytes_max} bytes")
            yield


async def read_answer(answer: Answer, decode: Callable[[bytes], _T]) -> _T:
    """Decode the body of an answer that is none of a refusal; a long one in a thread, so that trades go on.

    Raises:
        SourceUnavailableError: its status says that it is no answer.
        UnreadableAnswerError: it makes no sense.
    """
    if answer.status != 200:
        raise SourceUnavailableError(f"status {answer.status}")
    try:
        if len(answer.body) <= _INLINE_BYTES:
            return decode(answer.body)
        return await trio.to_thread.run_sync(decode, answer.body)
    except ValueError as error:
        raise UnreadableAnswerError(f"an answer that makes no sense: {printable(str(error))}") from error


@asynccontextmanager
async def open_source(
    make: Callable[[httpcore.AsyncConnectionPool, Sequence[str], RollingLimit], _S],
    base_urls: Sequence[str],
    weight_per_minute: int,
    network: httpcore.AsyncNetworkBackend | None,
    *,
    connections: int,
) -> AsyncIterator[_S]:
    """Open a client of a REST side.

    Args:
        make: Its class.
        base_urls: Tried in turn when one fails.
        weight_per_minute: Request weight that may be used.
        network: Another one than the machine's; None: that.
        connections: Requests under way at once.
    """
    async with httpcore.AsyncConnectionPool(
        max_connections=connections, keepalive_expiry=_KEEPALIVE_SECONDS, network_backend=network
    ) as pool:
        yield make(pool, base_urls, RollingLimit(weight_per_minute, 60.0))


def _wait(weight: int, limits: Sequence[RollingLimit]) -> float:
    """Return the seconds until every limit has room."""
    return max(limit.wait(weight, trio.current_time()) for limit in limits)
