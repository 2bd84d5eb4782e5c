"""A wire form of the exchange: the API of one original, over the same market, ledger, clock and faults."""

from typing import Protocol

from candled.embedded_exchange.rest_side import Answer, Request, RestSide
from candled.embedded_exchange.tapes import Message


class Streams(Protocol):
    """The streams of one connection. Plain: no sockets, and the clock's time comes in as an argument."""

    @property
    def names(self) -> list[str]:
        """Streams subscribed to, known to the exchange or not."""

    @property
    def due(self) -> int | None:
        """Exchange time of the next message; None: never."""

    def take(self, now: int, limit: int) -> list[Message]:
        """Return the messages due by ``now``, in order of time, about ``limit`` of them at most."""

    def rewind(self) -> None:
        """Recompute what comes next, after the market changed."""

    def answer(self, text: str) -> list[str]:
        """Take a message of the client and return what it is answered."""

    def shutdown_notices(self) -> list[str]:
        """Return what is sent before the server goes down; nothing where the original says nothing."""


class Form(Protocol):
    """The API of one original."""

    @property
    def fills_halts(self) -> bool:
        """Whether nothing that it says distinguishes a halt from a market in which nothing is traded."""

    @property
    def rest(self) -> RestSide:
        """Its REST side."""

    def open_streams(self, path: str, query: str) -> Streams | Answer:
        """Return the streams of a connection to this target, or the answer that refuses it."""

    def failure(self, status: int) -> Answer:
        """Return the original's answer of a status that a fault asks for."""

    def refusal(self, request: Request) -> Answer | None:
        """Return the answer of a fault that concerns this request alone; None where there is none."""
