"""The table of faults: what each is called, what it takes and what it does. Help and parser follow from it."""

from enum import Enum
from typing import Final

import attrs


class Takes(Enum):
    """What is written after a fault's name, as in ``lose=0.01``."""

    RATE = "RATE"
    RATE_AND_TIME = "RATE or RATE/TIME"
    RATE_OR_NOTHING = "RATE or nothing"
    TIME = "TIME"
    TIME_OR_NOTHING = "TIME or nothing"
    SWITCH = "nothing or TIME"
    OFFSET = "OFFSET"
    OFFSET_AND_RATE = "OFFSET or OFFSET/RATE"
    VALUE = "VALUE"
    VALUE_AND_RATE = "VALUE or VALUE/RATE"


class Place(Enum):
    """Where a fault acts; the words are headings of the help."""

    STREAM = "On the streams"
    STREAM_LIE = "Lies on the streams"
    REST = "On REST"
    REST_LIE = "Lies on REST"
    MARKET = "On the market, from now on (given at the start, for all its past)"


@attrs.frozen(slots=True)
class Kind:
    """A fault that can be asked for."""

    name: str
    place: Place
    takes: Takes
    help: str
    for_symbols: bool = False
    """Whether it can be asked for a single symbol."""
    needs_symbol: bool = False

    @property
    def is_rate(self) -> bool:
        """Whether a chance is written after its name."""
        return self.takes in {Takes.RATE, Takes.RATE_AND_TIME, Takes.RATE_OR_NOTHING}

    @property
    def at_once(self) -> bool:
        """Whether, without a value, it is one blow now."""
        return self.takes in {Takes.RATE_OR_NOTHING, Takes.TIME_OR_NOTHING}


_FIELDS: Final = ("price", "quantity", "id", "time")
_FIELD_HELP: Final = "a trade's {0} is sent as VALUE; `missing` leaves it out, `doubled` sends it twice"

_LIES: Final = (
    ("wrong_value", "a price, a quantity, an id or a time is one that cannot be: NaN, 30 digits, negative ..."),
    ("wrong_type", "a field has another JSON type"),
    ("wrong_key", "a field is missing, stands there twice, has another name, or a new one is there"),
    ("wrong_id", "the id jumps by 10^9 or to 2^63-1, or is that of another trade"),
    ("contradict", "price, quantity or side are others than the market's, and plausible"),
)
"""Lies about a trade. Which trades they are about follows from the seed; on streams also from the connection."""

ADVERSARY: Final = "adversary"
"""Stands for every lie that is not asked for by itself."""

_TABLE: Final = (
    Kind("lose", Place.STREAM, Takes.RATE, "a message is lost"),
    Kind("double", Place.STREAM, Takes.RATE, "a message is sent twice"),
    Kind("reorder", Place.STREAM, Takes.RATE, "a message is sent after the next one"),
    Kind("malformed", Place.STREAM, Takes.RATE, "a message is broken JSON"),
    Kind("late", Place.STREAM, Takes.RATE_AND_TIME, "a message comes TIME later (1 s)"),
    Kind("half", Place.STREAM, Takes.RATE_OR_NOTHING, "the connection ends in the middle of a frame; or each now"),
    Kind("cut", Place.STREAM, Takes.TIME_OR_NOTHING, "each connection is cut after about TIME; or each now"),
    Kind(
        "shutdown", Place.STREAM, Takes.TIME_OR_NOTHING, "each connection gets `serverShutdown` after TIME; or now"
    ),
    Kind("stall", Place.STREAM, Takes.SWITCH, "nothing more is sent, of any symbol or of one", for_symbols=True),
    Kind("nopong", Place.STREAM, Takes.SWITCH, "the exchange answers no pings and sends none"),
    Kind("refuse", Place.STREAM, Takes.SWITCH, "new connections are refused"),
    Kind("refuse_451", Place.STREAM, Takes.SWITCH, "new connections are refused with status 451"),
    *(Kind(f"say_{it}", Place.STREAM_LIE, Takes.VALUE_AND_RATE, _FIELD_HELP.format(it)) for it in _FIELDS),
    *(Kind(name, Place.STREAM_LIE, Takes.RATE, text) for name, text in _LIES),
    Kind(
        "event_time",
        Place.STREAM_LIE,
        Takes.OFFSET_AND_RATE,
        "a message says that it was sent OFFSET later; `-30m` is half an hour earlier",
        for_symbols=True,
    ),
    Kind(
        "trade_time",
        Place.STREAM_LIE,
        Takes.OFFSET_AND_RATE,
        "a message says that its trade was made OFFSET later",
        for_symbols=True,
    ),
    Kind("twin", Place.STREAM_LIE, Takes.RATE, "a trade is sent twice, the second time with another price"),
    Kind("wrong_heartbeat", Place.STREAM_LIE, Takes.RATE, "a heartbeat states another newest id, or no time"),
    Kind("huge", Place.STREAM_LIE, Takes.RATE, "a message has 2 MiB"),
    Kind("endless", Place.STREAM_LIE, Takes.RATE, "a message never ends: 64 KiB follow on 64 KiB until a cut"),
    Kind(
        "rest_lag", Place.REST, Takes.TIME, "trades show only TIME (of the exchange's clock) after they happened"
    ),
    Kind("rest_delay", Place.REST, Takes.TIME, "every answer takes TIME"),
    Kind("rest_500", Place.REST, Takes.RATE, "a request is answered with status 500"),
    Kind("rest_429", Place.REST, Takes.RATE, "a request is answered with status 429"),
    Kind("rest_418", Place.REST, Takes.RATE, "a request is answered with status 418"),
    Kind("rest_403", Place.REST, Takes.RATE, "a request is answered with status 403 and HTML"),
    Kind("rest_451", Place.REST, Takes.RATE, "a request is answered with status 451"),
    Kind("rest_half", Place.REST, Takes.RATE, "the connection ends in the middle of the answer"),
    Kind("rest_key", Place.REST, Takes.SWITCH, "`historicalTrades` wants an API key (401, code -2014)"),
    Kind("unfillable", Place.REST, Takes.RATE, "runs of 50 trade ids are not to be had"),
    *(Kind(f"rest_say_{it}", Place.REST_LIE, Takes.VALUE_AND_RATE, _FIELD_HELP.format(it)) for it in _FIELDS),
    *(Kind(f"rest_{name}", Place.REST_LIE, Takes.RATE, text) for name, text in _LIES),
    Kind(
        "rest_trade_time",
        Place.REST_LIE,
        Takes.OFFSET_AND_RATE,
        "a trade's time is OFFSET later, of the same trades as on the streams",
        for_symbols=True,
    ),
    Kind("server_time", Place.REST_LIE, Takes.OFFSET, "the exchange's clock is OFFSET ahead"),
    Kind("server_time_frozen", Place.REST_LIE, Takes.SWITCH, "the exchange's clock stands"),
    Kind("rest_wrong_order", Place.REST_LIE, Takes.RATE, "rows are reversed, repeated, or stop in the middle"),
    Kind("rest_wrong_kline", Place.REST_LIE, Takes.RATE, "a kline contradicts itself, or has another form"),
    Kind(
        "rest_contradict_kline", Place.REST_LIE, Takes.RATE, "a kline's count or sums are not those of its trades"
    ),
    Kind("rest_weight", Place.REST_LIE, Takes.VALUE, "the header of the used weight is VALUE"),
    Kind("rest_retry", Place.REST_LIE, Takes.VALUE, "the header of the time to wait is VALUE"),
    Kind("rest_wrong_header", Place.REST_LIE, Takes.RATE, "a header has 5,000 digits, words, or a false encoding"),
    Kind(
        "rest_wrong_answer",
        Place.REST_LIE,
        Takes.RATE,
        "another status or body: 200 HTML, 451, an empty object ...",
    ),
    Kind("rest_huge", Place.REST_LIE, Takes.RATE, "3 MiB of white space follow an answer"),
    Kind("rest_endless", Place.REST_LIE, Takes.RATE, "an answer never ends: a byte each second"),
    Kind("placeholder", Place.MARKET, Takes.RATE, "aggregates have price and quantity 0"),
    Kind("skip", Place.MARKET, Takes.RATE, "aggregates have ids that do not exist"),
    Kind(
        "halt",
        Place.MARKET,
        Takes.SWITCH,
        "the symbol is not traded until `off`",
        for_symbols=True,
        needs_symbol=True,
    ),
    Kind(
        "delist",
        Place.MARKET,
        Takes.SWITCH,
        "the same, and REST does not know it",
        for_symbols=True,
        needs_symbol=True,
    ),
    Kind(
        "reset_ids",
        Place.MARKET,
        Takes.SWITCH,
        "ids are reset to 0, and nothing is left of what was traded before",
        for_symbols=True,
        needs_symbol=True,
    ),
    Kind(ADVERSARY, Place.REST_LIE, Takes.RATE, "every lie here, and those on the streams, at this rate"),
)

KINDS: Final = {kind.name: kind for kind in _TABLE}
"""Every fault, by name."""

LIES: Final = frozenset(
    kind.name
    for kind in _TABLE
    if kind.place in {Place.STREAM_LIE, Place.REST_LIE} and kind.takes is Takes.RATE and kind.name != ADVERSARY
)
"""Those that ``adversary`` stands for."""

MARKET_FAULTS: Final = frozenset(kind.name for kind in _TABLE if kind.place is Place.MARKET)
"""Those that change the market itself rather than the way to it."""


def describe_kinds() -> str:
    """List every fault for people: a paragraph for each place, a line for each fault."""
    paragraphs = []
    for place in Place:
        kinds = [kind for kind in _TABLE if kind.place is place]
        lines = [f"  {_syntax(kind)}: {kind.help}" for kind in kinds]
        paragraphs.append("\n".join([f"{place.value}:", *lines]))
    return "\n\n".join(paragraphs)


def _syntax(kind: Kind) -> str:
    name = f"{kind.name}:SYMBOL" if kind.needs_symbol else kind.name
    value = kind.takes.value.partition(" ")[0]
    if kind.takes is Takes.SWITCH:
        return f"{name}[:SYMBOL][=TIME]" if kind.for_symbols and not kind.needs_symbol else f"{name}[=TIME]"
    if kind.for_symbols and not kind.needs_symbol:
        name = f"{name}[:SYMBOL]"
    return f"{name}[={value}]" if kind.at_once else f"{name}={kind.takes.value.replace(' or ', ' or =')}"
