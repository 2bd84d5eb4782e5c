"""Lies of whole answers and messages: orders of rows, statuses, headers, sizes."""

from collections.abc import Sequence
from random import Random
from typing import Final

import attrs

from candled.embedded_exchange.rest_side import Answer

MESSAGE_BYTES: Final = 2 << 20
BODY_BYTES: Final = 3 << 20

_ANSWERS: Final = (
    Answer(body=b"<html><body>maintenance</body></html>", content_type="text/html"),
    Answer(body=b""),
    Answer(body=b"null"),
    Answer(body=b"{}"),
    Answer(body=b'[null,1,"a",[],{}]'),
    Answer(body=b"[" * 20_000),
    Answer(body=b"\xff\xfe\x00["),
    Answer(body=b'{"serverTime":-1,"symbols":7}'),
    Answer(status=201, body=b"[]"),
    Answer(status=302, headers=(("Location", "http://127.0.0.1:1/"),)),
    Answer(status=400, body=b'{"code":-1102,"msg":"\\u001b[2J\\u0000"}'),
    Answer(status=403, body=b"<html>403 Forbidden</html>", content_type="text/html"),
    Answer(status=451, body=b'{"code":0,"msg":"Service unavailable from a restricted location."}'),
    Answer(status=503, body=b""),
)
_HEADER_VALUES: Final = ("9" * 5_000, "-5", "many", "1000000000", "1e9", "0x10", "", "1, 2")
_HEADERS: Final = ("x-mbx-used-weight-1m", "retry-after")


def disordered(rows: Sequence[str], rng: Random) -> list[str]:
    """The rows in another order, some of them twice, or without the last of them."""
    match rng.randrange(4):
        case 0:
            return list(reversed(rows))
        case 1:
            return rng.sample(list(rows), len(rows))
        case 2:
            return [*rows, *rows[: len(rows) // 2 + 1]]
        case _:
            return list(rows[: rng.randrange(len(rows)) + 1]) if rows else []


def wrong_answer(rng: Random) -> Answer:
    """An answer to something else."""
    return rng.choice(_ANSWERS)


def with_wrong_header(answer: Answer, rng: Random) -> Answer:
    """The answer with a header that cannot be true."""
    if rng.random() < 0.2:
        return attrs.evolve(
            answer, headers=(*answer.headers, ("Content-Encoding", rng.choice(("gzip", "br", "x"))))
        )
    name, value = rng.choice(_HEADERS), rng.choice(_HEADER_VALUES)
    kept = tuple(header for header in answer.headers if header[0].lower() != name)
    return attrs.evolve(answer, headers=(*kept, (name, value)))


def oversized(answer: Answer) -> Answer:
    """The answer, padded with white space beyond the size limit."""
    return attrs.evolve(answer, body=answer.body + b" " * BODY_BYTES)


def padded(text: str) -> str:
    """A message beyond the size limit."""
    return f'{text[:-1]},"x":"{"x" * MESSAGE_BYTES}"}}'
