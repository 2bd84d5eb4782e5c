"""Read single keys and clicks from a terminal, without blocking."""

import os
import re
import termios
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final, TextIO

import attrs
import trio

_SEQUENCES: Final = {"\x1b[C": "right", "\x1b[D": "left", "\x1b[A": "up", "\x1b[B": "down", "\x1b": "escape"}
_NAMES: Final = {"\r": "enter", "\n": "enter"}
_MOUSE: Final = re.compile(r"\x1b\[<(\d{1,4});(\d{1,5});(\d{1,5})([Mm])")
"""Button, column and line from 1 on, and whether it was pressed (M) or released: xterm's form SGR."""
_PARTIAL_MOUSE: Final = re.compile(r"\x1b\[<[\d;]{0,20}\Z")
"""The end of a read that cuts such a report."""
_LEFT: Final = 0
_WHEEL: Final = {64: "wheel up", 65: "wheel down"}
_MOUSE_ON: Final = "\x1b[?1000h\x1b[?1006h"
_MOUSE_OFF: Final = "\x1b[?1006l\x1b[?1000l"


@attrs.frozen
class Click:
    """The left button was pressed."""

    column: int
    """From 0 on."""
    line: int
    """From 0 on, from the top."""


@contextmanager
def key_mode(descriptor: int) -> Iterator[None]:
    """Let each key arrive at once, without echo, while inside; Ctrl-C stays a signal."""
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor, termios.TCSANOW)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


class Mouse:
    """Whether clicks and the wheel are reported to this process, instead of selecting text."""

    def __init__(self, output: TextIO) -> None:
        """Begin with the terminal's own mouse; ``output`` leads to the terminal."""
        self._output = output
        self._is_taken = False

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Have it reported while inside, or as ``toggle`` says."""
        self.toggle()
        try:
            yield
        finally:
            if self._is_taken:
                self.toggle()

    def toggle(self) -> None:
        """Take the mouse, or leave it to the terminal."""
        self._is_taken = not self._is_taken
        self._output.write(_MOUSE_ON if self._is_taken else _MOUSE_OFF)
        self._output.flush()


async def read_keys(descriptor: int) -> AsyncIterator[str | Click]:
    """Yield the names of keys as they are pressed, and clicks, until the terminal is closed.

    The descriptor stays in blocking mode, because standard output usually shares it.
    """
    rest = ""
    while True:
        await trio.lowlevel.wait_readable(descriptor)
        data = os.read(descriptor, 256)
        if not data:
            return
        text = rest + data.decode(errors="replace")
        partial = _PARTIAL_MOUSE.search(text)
        whole, rest = (text, "") if partial is None else (text[: partial.start()], partial[0])
        for key in split_keys(whole):
            yield key


def split_keys(text: str) -> list[str | Click]:
    """Split one read of the terminal into names of keys and clicks."""
    keys: list[str | Click] = []
    while text:
        if mouse := _MOUSE.match(text):
            keys += _mouse_keys(mouse)
            text = text[mouse.end() :]
            continue
        sequence = next((known for known in _SEQUENCES if text.startswith(known)), text[0])
        keys.append(_SEQUENCES.get(sequence) or _NAMES.get(sequence, sequence))
        text = text[len(sequence) :]
    return keys


def _mouse_keys(found: re.Match[str]) -> list[str | Click]:
    button, column, line = (int(number) for number in found.groups()[:3])
    if found[4] == "m":
        return []
    if button == _LEFT:
        return [Click(column - 1, line - 1)]
    return [_WHEEL[button]] if button in _WHEEL else []
