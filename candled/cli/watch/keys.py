"""Single keys from a terminal, without blocking and without changing how anything else writes to it."""

import os
import termios
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final

import trio

_SEQUENCES: Final = {"\x1b[C": "right", "\x1b[D": "left", "\x1b[A": "up", "\x1b[B": "down", "\x1b": "escape"}


@contextmanager
def key_mode(descriptor: int) -> Iterator[None]:
    """Each key arrives at once and unseen; Ctrl-C stays a signal. The old mode comes back at the end."""
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor, termios.TCSANOW)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


async def read_keys(descriptor: int) -> AsyncIterator[str]:
    """Names of keys as they are pressed; ends when the terminal is gone.

    The descriptor stays in blocking mode, since standard output usually shares it.
    """
    while True:
        await trio.lowlevel.wait_readable(descriptor)
        data = os.read(descriptor, 256)
        if not data:
            return
        for key in split_keys(data.decode(errors="replace")):
            yield key


def split_keys(text: str) -> list[str]:
    """What was pressed, from what the terminal sent in one go."""
    keys = []
    while text:
        sequence = next((known for known in _SEQUENCES if text.startswith(known)), text[0])
        keys.append(_SEQUENCES.get(sequence, sequence))
        text = text[len(sequence) :]
    return keys
