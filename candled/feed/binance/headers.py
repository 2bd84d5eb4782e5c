"""Headers of Binance's answers as numbers: the weight used, and how long to wait. Plain: no clock, no I/O."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from candled.feed import headers as common
from candled.feed.headers import NUMBER, RETRY_SECONDS_MAX, Reading

RETRY_SECONDS: Final = 60.0
"""Wait where an answer asks for one without a time that can be read."""
WEIGHT_MAX: Final = 1_000_000
"""More used weight than any exchange allows in a minute is no reading."""

_BANNED_UNTIL: Final = re.compile(r"banned until ([0-9]{13})\b", re.ASCII)


def used_weight(headers: Mapping[bytes, bytes]) -> Reading:
    """Read how much request weight the exchange counts in this minute."""
    text = headers.get(b"x-mbx-used-weight-1m")
    if text is None:
        return Reading(None)
    if not NUMBER.fullmatch(text) or int(text) > WEIGHT_MAX:
        return Reading(None, refused=True)
    return Reading(int(text))


def retry_after(headers: Mapping[bytes, bytes], message: str, exchange_time: int | None) -> Reading:
    """Read how many seconds an answer asks to wait, by its header or by the end of a ban that its message names.

    Args:
        headers: Of the answer, names in lower case.
        message: Of the exchange's error, which names the end of a ban.
        exchange_time: The exchange's clock, microseconds, if it is known; the answer's ``Date`` is next best.
    """
    stated = common.retry_after(headers)
    if stated.value is not None:
        return stated
    until = _BANNED_UNTIL.search(message)
    now = _date(headers) if exchange_time is None else exchange_time
    if until is not None and now is not None:
        seconds = int(until[1]) / 1000 - now / 1_000_000
        return Reading(min(max(seconds, 1.0), RETRY_SECONDS_MAX), refused=stated.refused)
    return Reading(RETRY_SECONDS, refused=stated.refused)


def _date(headers: Mapping[bytes, bytes]) -> int | None:
    """When the answer was sent, by the sender's clock, microseconds."""
    text = headers.get(b"date", b"")[:64].decode("ascii", "replace")
    try:
        date: datetime = parsedate_to_datetime(text)
        return int((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()) * 1_000_000
    except (ValueError, TypeError, OverflowError):
        return None
