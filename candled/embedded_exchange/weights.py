"""Request weight of each address, with rate limits and bans."""

from collections.abc import Callable
from typing import Final

import attrs

WINDOW_S: Final = 60
_BAN_AFTER_REFUSALS: Final = 30
_FIRST_BAN_S: Final = 120
_LONGEST_BAN_S: Final = 3 * 86_400
_MOST_ACCOUNTS: Final = 10_000
"""Maximum number of addresses kept beyond those of this window."""


@attrs.frozen(slots=True)
class Refusal:
    """A refused request: 429 over the limit, 418 banned."""

    status: int
    retry_after_s: int


@attrs.define(slots=True)
class _Account:
    window: int = -1
    used: int = 0
    refusals: int = 0
    bans: int = 0
    banned_until: float = 0.0


class WeightLimit:
    """Counts request weight per address in windows of a real minute. Plain: the clock is passed in."""

    def __init__(self, limit: int, monotonic: Callable[[], float]) -> None:
        """Limit each address to ``limit`` weight per window; ``monotonic`` returns seconds."""
        self.limit = limit
        self._monotonic = monotonic
        self._accounts: dict[str, _Account] = {}

    def charge(self, address: str, weight: int) -> tuple[int, Refusal | None]:
        """Count a request; return the weight used in this window, and a refusal if the limit is exceeded."""
        now = self._monotonic()
        window = int(now // WINDOW_S)
        if address not in self._accounts and len(self._accounts) >= _MOST_ACCOUNTS:
            self._accounts = {
                known: account
                for known, account in self._accounts.items()
                if account.window == window or now < account.banned_until
            }
        account = self._accounts.setdefault(address, _Account())
        if account.window != window:
            account.window, account.used, account.refusals = window, 0, 0
        if now < account.banned_until:
            return account.used, Refusal(418, int(account.banned_until - now) + 1)
        account.used += weight
        if account.used <= self.limit:
            return account.used, None
        account.refusals += 1
        if account.refusals > _BAN_AFTER_REFUSALS:
            ban = min(_FIRST_BAN_S * 4**account.bans, _LONGEST_BAN_S)
            account.bans += 1
            account.banned_until = now + ban
            return account.used, Refusal(418, ban)
        return account.used, Refusal(429, int((window + 1) * WINDOW_S - now) + 1)
