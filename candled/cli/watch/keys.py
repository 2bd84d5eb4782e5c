"""Read single keys from a terminal, without blocking and without changing its output mode."""

import os
import termios
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final

import trio

_SEQUENCES: Final = {"\x1b[C": "right", "\x1b[D": "left", "\x1b[A": "up", "\x1b[B": "down", "\x1b": "escape"}
_NAMES: Final = {"\r": "enter", "\n": "enter"}


@contextmanager
def key_mode(descriptor: int) -> Iterator[None]:
    """Let each key arrive at once, without echo, while inside; Ctrl-C stays a signal."""
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor, termios.TCSANOW)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


async def read_keys(descriptor: int) -> AsyncIterator[str]:
    """Yield the names of keys as they are pressed, until the terminal is closed.

    The descriptor stays in blocking mode, because standard output usually shares it.
    """
    while True:
        await trio.lowlevel.wait_readable(descriptor)
        data = os.read(descriptor, 256)
        if not data:
            return
        for key in split_keys(data.decode(errors="replace")):
            yield key


def split_keys(text: str) -> list[str]:
    """Split one read of the terminal into names of keys."""
    keys = []
    while text:
        sequence = next((known for known in _SEQUENCES if text.startswith(known)), text[0])
        keys.append(_SEQUENCES.get(sequence) or _NAMES.get(sequence, sequence))
        text = text[len(sequence) :]
    return keys
