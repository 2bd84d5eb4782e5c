"""Wrong heartbeats: another newest id than the market's, or another time. Of forms that have heartbeats."""

import re
from random import Random
from typing import Final

_NEWEST_ID: Final = re.compile(r'"last_trade_id":(\d+)')
_TIME: Final = re.compile(r'"time":"[^"]*"')
_NO_IDS: Final = ("null", '"7"', "-1", "1.5", str(2**63 - 1), str(2**64), "9" * 40)
_NO_TIMES: Final = ("null", "0", '""', '"yesterday"', '"1970-01-01T00:00:00.000000Z"', '"9999-12-31T23:59:59Z"')


def newest_id_of(text: str) -> int | None:
    """The newest id that a message states; None if it is no heartbeat."""
    found = _NEWEST_ID.search(text)
    return None if found is None else int(found[1])


def wrong_heartbeat(text: str, rng: Random) -> str:
    """The heartbeat with an id before or after the true one, one that cannot be, without one, or of no time."""
    found = _NEWEST_ID.search(text)
    if found is None:
        return text
    newest = int(found[1])
    match rng.randrange(5):
        case 0:
            said = str(max(0, newest - rng.choice((1, 2, 1_000))))
        case 1:
            said = str(newest + rng.choice((1, 3, 1_000, 99_999, 10**9)))
        case 2:
            said = rng.choice(_NO_IDS)
        case 3:
            return _TIME.sub(f'"time":{rng.choice(_NO_TIMES)}', text, count=1)
        case _:
            doubled = rng.choice(("", f"{found[0]},{found[0]},"))
            return text.replace(f"{found[0]},", doubled, 1)
    return text.replace(found[0], f'"last_trade_id":{said}', 1)
