"""Refused values from outside, and the reason."""

from enum import StrEnum

import attrs

from candled.domain.bar import NO_TRADE


class Refusal(StrEnum):
    """Why a value is refused; the words appear in logs, in the status and as a label of metrics."""

    NOT_JSON = "not JSON"
    FORM = "missing or wrong field"
    DOUBLED_KEY = "doubled key"
    NUMBER = "not a plain decimal"
    DECIMALS = "more than 8 decimals"
    PRICE = "price out of range"
    QUANTITY = "quantity out of range"
    PRODUCT = "price x quantity out of range"
    TRADE_ID = "trade id out of range"
    TIME = "time out of range"
    EVENT_TIME = "trade time after its message's event time"
    ORDER = "row that was not asked for"
    TWO_TRUTHS = "two rows of one id or minute"
    KLINE = "kline contradicts itself"
    HEADER = "header out of range"
    SUBSCRIPTION = "subscription refused"


class TimeRefusal(StrEnum):
    """Why a trade's time is not believed; the words appear in the status and as a label of metrics."""

    AHEAD = "its time is ahead of the exchange time"
    EVENT = "its time contradicts its message's event time"
    ORDER = "its time contradicts those of its neighbours by id"


@attrs.frozen(slots=True)
class Refused:
    """A refused message or row, as far as it can be read."""

    reason: Refusal
    text: str
    """The beginning of it, without control characters."""
    symbol: str | None = None
    first_id: int = NO_TRADE
    """Lowest trade id in it; ``NO_TRADE`` if that cannot be read."""
    last_id: int = NO_TRADE
    open_time: int | None = None
    """Of a kline, if that can be read."""

    @property
    def has_ids(self) -> bool:
        """Whether its trade ids are known."""
        return self.first_id != NO_TRADE
