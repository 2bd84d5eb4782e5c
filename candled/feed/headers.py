"""Headers of answers as numbers, for every exchange. Plain: no clock, no I/O."""

import re
from collections.abc import Mapping
from typing import Final

import attrs

RETRY_SECONDS_MAX: Final = 3600.0
"""Longest wait that an answer can ask for: whoever bans for longer is asked once an hour."""
NUMBER: Final = re.compile(rb"[0-9]{1,9}")
_DIGITS: Final = re.compile(rb"[0-9]{1,8192}")


@attrs.frozen(slots=True)
class Reading:
    """A number that a header states."""

    value: float | None
    """None where there is none to be had."""
    refused: bool = False
    """Whether something else was there than such a number."""


def retry_after(headers: Mapping[bytes, bytes]) -> Reading:
    """Read how many seconds the header ``Retry-After`` asks to wait: at most ``RETRY_SECONDS_MAX``.

    Args:
        headers: Of the answer, names in lower case.
    """
    text = headers.get(b"retry-after")
    if text is None:
        return Reading(None)
    if NUMBER.fullmatch(text):
        return Reading(min(float(text), RETRY_SECONDS_MAX), refused=float(text) > RETRY_SECONDS_MAX)
    if _DIGITS.fullmatch(text):
        return Reading(RETRY_SECONDS_MAX, refused=True)
    return Reading(None, refused=True)
