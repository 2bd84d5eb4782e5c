"""What time it is at the exchange, by agreement of sources that may lie.

State: a *line*, exchange time as a function of the local monotonic clock, which ran through the last readings that
two sources agreed on (``_base``) and continues at the measured rate. One source alone may lead the line by a
slack, never more. Everything else is judged against it:

1. A reading within the line and its slack is in agreement. With one of another source it moves the line up to
   the lower of the two, so a line is always supported by two.
2. A symbol's reading below the line is a late message, which says nothing.
3. Any other reading contradicts: its source is *quarantined* until it has agreed several times in a row.
4. Sources in quarantine that agree with each other move the line (``_resolve_ahead``, ``_resolve_behind``), if
   they are more than those that the line has: a symbol and the exchange's clock; or two symbols where that clock
   cannot be read or is in quarantine itself; or, where nobody else speaks at all, one source alone after a while
   of even readings. All symbols together do not outvote an exchange's clock that agrees with the line: they may
   lie alike.
5. While the exchange's clock says that it is earlier, and no symbol contradicts it, the time stands still.

So a lie of one source makes the time too late by the slack at most, for as long as it lasts; and what heals, heals
without a restart. Plain: no clock, no I/O; order of events as called.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from candled.domain.interval import MICROSECONDS
from candled.domain.limits import EXCHANGE_TIME_MAX, EXCHANGE_TIME_MIN
from candled.engine.time_sources import BASELINE_SECONDS, SERVER, Disagreement, Quarantine, Source

SLACK: Final = 1 * MICROSECONDS
"""How far one source may lead the agreed time, and how far two may differ and agree: the default ``close_grace``,
so that a lead closes no bar before its end."""
SLACK_SECONDS: Final = 0.25
"""The same in local seconds, for an accelerated exchange: what scheduling adds to a message's way."""
LATE_SECONDS: Final = 10
"""A message that is later than that (exchange seconds) says nothing of the time."""
_DRIFT: Final = 0.0002
"""By which two real clocks may differ: microseconds in a microsecond."""
STALE_SECONDS: Final = 60
STALE_LOCAL_SECONDS: Final = 2.0
"""A trade that is older than its message by more exchange and local seconds than these is asked for over REST."""
_UNSURE: Final = 0.02
"""How unsure a measured rate is."""
_GRAIN: Final = 1_000
"""Microseconds by which a reading may be too low: the exchange states its time in milliseconds."""
_STANDING: Final = 0.5
"""Rate below which a clock stands, before the first agreement: it supports nobody, as it may start later."""
_FAST: Final = 1.5
"""From this rate on a clock is an accelerated one; below it is a real one, which needs no measuring."""
_PAIRS: Final = (2, 4)
"""Pairs of readings in a row that must agree on an accelerated rate, at first and later: a jump is no speed."""
_SLOWEST: Final = 0.7
"""Share of an accelerated rate that the symbols' event times must advance at, not to contradict it."""
_REFINE_PAIRS: Final = 3
"""Pairs in a row that must say that a rate is higher."""
_REFINE_SECONDS: Final = 2.0
"""Minimum local seconds between two readings that correct a rate: over less, a small lie would be too much."""
_ALIKE: Final = 1.1
"""Maximum ratio between the rates of the first pairs: a clock may have started within one of them."""
_SAME: Final = 1.25
"""Rates that differ by less are one: over short times they are not exact."""
_NEAR: Final = 10
"""Slacks by which the exchange's clock may disagree with the line and still be a witness against far readings."""
_HEAL: Final = 3
"""Readings in a row that must agree before a source leaves quarantine."""
_VOTE_SECONDS: Final = 3.0
"""Age up to which a symbol's reading counts where sources are weighed against each other."""
_CONTRADICT_SECONDS: Final = 10.0
"""Age up to which a symbol's reading contradicts an exchange's clock that is behind."""
_SERVER_SECONDS: Final = 90.0
"""Without an answer for this time, the exchange's clock cannot be read."""
_QUICK_SECONDS: Final = 1.0
"""Maximum seconds of a request for a reading to be used of an accelerated clock."""
_SERVER_WAIT_SECONDS: Final = 3.0
"""How long an agreement of symbols alone waits for the exchange's clock."""
_OUTVOTE_SECONDS: Final = 5.0
"""At the start, two symbols that agree for this time outvote an exchange's clock that disagrees."""
_LONE_START_SECONDS: Final = 3.0
_LONE_SECONDS: Final = 20.0
"""Even readings of a symbol that is the only source: at the start, and to move the line."""
_CREDIBLE_SECONDS: Final = 120.0
"""Time since its quarantine began in which the exchange's clock is a witness against symbols that agree."""
_ALONE_SECONDS: Final = 60.0
"""Even readings of the exchange's clock alone, while all symbols are silent, that move the line."""
_SILENT_SECONDS: Final = 120.0
"""All symbols are silent if none gave a reading for this long."""
_UNSUPPORTED_SECONDS: Final = 30.0
"""Without an exchange's clock, a line is given up if all symbols are late for this time."""
_ASK_SECONDS: Final = (1.0, 30.0)
"""Between requests for a reading of the exchange's clock while somebody disagrees: at first, and at most."""


@attrs.frozen(slots=True)
class TimeStatistics:
    """How the agreement stands."""

    known: bool
    moves: int
    quarantined: tuple[Quarantine, ...]
    disagreements: Mapping[tuple[str, Disagreement], int]
    """Quarantines begun, by kind of source (``symbol`` or ``SERVER``) and reason."""


class ExchangeTime:
    """The agreed time, who supports it, and who is in quarantine."""

    def __init__(self) -> None:
        self.moves = 0
        """How often agreement set or moved the line otherwise than its readings continued it."""
        self.steps_back = 0
        """How many of those moves were to an earlier time."""
        self.disagreements: Counter[tuple[str, Disagreement]] = Counter()
        """Quarantines begun, by kind of source (``symbol`` or ``server clock``) and reason."""
        self._rate = 1.0
        self._base: tuple[int, float] | None = None
        """The line: exchange time and the local time when it was that."""
        self._origin: tuple[int, float] | None = None
        """The line when it was set or moved last."""
        self._lead: tuple[str, int, float] | None = None
        """The source that is furthest ahead within the slack, and its reading."""
        self._cap: tuple[int, float, float] | None = None
        """Where the exchange's clock says that it is earlier: its latest possible time, when, and its rate."""
        self._provisional = False
        """Whether only the exchange's clock ever supported the line."""
        self._server = Source(SERVER)
        self._symbols: dict[str, Source] = {}
        self._ahead: dict[str, Source] = {}
        """Symbols in quarantine for being ahead."""
        self._measured: tuple[int, float, float] | None = None
        """The newest reading of the exchange's clock that agreed, when it was asked for and received."""
        self._slowest: deque[float] = deque(maxlen=_REFINE_PAIRS)
        """The lowest rates that the newest pairs of such readings allow."""
        self._clock_before: tuple[int, float, float] | None = None
        """The one before the newest pair of readings, when it was asked for and received."""
        self._rates: deque[float] = deque(maxlen=_PAIRS[1])
        """Of the newest pairs of readings."""
        self._clock_failed = False
        self._symbol_read_at = float("-inf")
        """When a symbol last gave a reading."""
        self._supported = float("-inf")
        """When a symbol last said what the line says."""
        self._began: float | None = None
        self._shown = 0
        self._asked = float("-inf")
        self._ask_pause = _ASK_SECONDS[0]
        self._new_quarantines: list[Quarantine] = []

    # -- what others read ---------------------------------------------------------------------------------------

    @property
    def known(self) -> bool:
        """Whether sources ever agreed: nothing is closed before."""
        return self._base is not None

    @property
    def rate(self) -> float:
        """Exchange seconds per local second, at least."""
        return self._rate

    @property
    def slack(self) -> int:
        """How far one source may lead, microseconds of exchange time."""
        return SLACK if self._rate < _FAST else SLACK + int(self._rate * SLACK_SECONDS * MICROSECONDS)

    def now(self, local: float) -> int:
        """The exchange's time at a local monotonic time, microseconds since the epoch; 0 while unknown."""
        if self._base is None:
            return 0
        time = self._supported_line(local)
        if self._cap is not None:
            time = min(time, self._capped(local))
        if time > self._shown:
            self._shown = time
        return self._shown

    def seconds_until(self, time: int, local: float) -> float:
        """Local seconds until ``now`` shows ``time``, as far as is known; infinite if it stands."""
        rate = self._rate
        if self._cap is None and self._base is not None:  # nearly always; ``now`` never falls, and so may be ahead
            line = self._supported_line(local)
            self._shown = max(self._shown, line)
            if time <= self._shown:
                return 0.0
            ahead = time - line
        else:
            ahead = time - self.now(local)
            if ahead <= 0:
                return 0.0
            if self._cap is not None:
                ahead = max(ahead, time - self._capped(local))
                rate = min(rate, self._cap[2])
        return ahead / MICROSECONDS / rate if rate > 0 else float("inf")

    def admits(self, time: int, local: float) -> bool:
        """Whether something that arrived at a local time may have happened at ``time``: not in the future then."""
        return time <= self.limit(local)

    def limit(self, local: float) -> int:
        """The latest time that something can have happened which arrived at a local time; -1 while unknown."""
        return self._limit(local) if self._base is not None else -1

    def age_max(self) -> int:
        """How much older than its message a trade may be, microseconds, before REST is asked for it."""
        return STALE_SECONDS * MICROSECONDS + self._advance(STALE_LOCAL_SECONDS)

    def line(self, local: float) -> int:
        """What the sources say at a local time; -1 while unknown."""
        return self._line(local) if self._base is not None else -1

    def is_trusted(self, source: str) -> bool:
        """Whether a source is not in quarantine."""
        found = self._server if source == SERVER else self._symbols.get(source)
        return found is None or found.is_trusted

    def quarantined(self) -> list[Quarantine]:
        """Sources that disagree now."""
        found = [self._server, *self._symbols.values()]
        return [Quarantine(s.name, s.reason, s.offset, s.since) for s in found if s.reason is not None]

    def statistics(self) -> TimeStatistics:
        """How the agreement stands now."""
        return TimeStatistics(self.known, self.moves, tuple(self.quarantined()), dict(self.disagreements))

    def take_new_quarantines(self) -> list[Quarantine]:
        """Those begun since the last call, once each."""
        new, self._new_quarantines = self._new_quarantines, []
        return new

    def wants_clock(self, local: float) -> bool:
        """Whether a reading of the exchange's clock would help now; True once in a while."""
        disputed = self._base is None or self._cap is not None or bool(self._ahead) or not self._server.is_trusted
        if not disputed or local - self._asked < self._ask_pause:
            return False
        self._asked = local
        if self._base is not None:
            self._ask_pause = min(2 * self._ask_pause, _ASK_SECONDS[1])
        return True

    def why_unknown(self) -> str:
        """A sentence that says what the first agreement waits for."""
        if not self._symbols and self._server.even == 0:
            return "The exchange's time is not known yet: no source gave a reading."
        sources = [f"{len(self._symbols)} symbol{'s' if len(self._symbols) != 1 else ''}"]
        sources += ["the exchange's clock"] if self._server.even else []
        return f"The exchange's time is not known yet: of {' and '.join(sources)} no two agree."

    def forget(self, symbol: str) -> None:
        """A symbol is not read any more."""
        self._symbols.pop(symbol, None)
        self._ahead.pop(symbol, None)

    # -- readings -----------------------------------------------------------------------------------------------

    def observe(self, event_times: Mapping[str, int], local: float) -> None:
        """Messages came: the newest event time (microseconds since the epoch) of each symbol among them.

        Args:
            event_times: By symbol.
            local: Local monotonic time when they were read, seconds.
        """
        contradicted = False
        earliest, latest = self._undisputed(local)
        for symbol, time in event_times.items():
            source = self._symbols.get(symbol)
            if source is not None and earliest <= time <= latest and source.reason is None:
                source.time, source.local, source.even = time, local, source.even + 1  # nearly every call
                self._supported = local
                self._support(source)
                continue
            if source is None:
                source = self._symbols[symbol] = Source(symbol)
            if not EXCHANGE_TIME_MIN <= time < EXCHANGE_TIME_MAX:
                self._quarantine(source, Disagreement.IMPOSSIBLE, 0, local)
                continue
            self._note(source, time, local, 0.0)
            if self._base is not None:
                contradicted |= self._judge_symbol(source)
        self._symbol_read_at = max(self._symbol_read_at, local)
        if self._base is None:
            self._agree_first(local)
        elif contradicted:
            self._resolve_ahead(local)

    def _undisputed(self, local: float) -> tuple[int, int]:
        """The earliest and the latest event time that says what is known already; none while that is little."""
        if self._base is None or self._cap is not None or self._provisional:
            return 0, -1
        slack, base = self._slack_at(local), self._base_at(local)
        return self._line_from(base, local) - slack, self._limit_from(base + slack, local)

    def synchronise(self, server_time: int, asked: float, received: float) -> None:
        """The exchange's clock showed this between two local times.

        Args:
            server_time: Microseconds since the epoch.
            asked: Local monotonic time when the request was sent, seconds.
            received: The same when the answer came.
        """
        is_slow = received - asked > _QUICK_SECONDS
        if is_slow and self._rate >= _FAST:
            self._clock_failed = True  # an accelerated clock went too far meanwhile to say anything
            return
        self._clock_failed = False
        server = self._server
        if not EXCHANGE_TIME_MIN <= server_time < EXCHANGE_TIME_MAX:
            self._quarantine(server, Disagreement.IMPOSSIBLE, 0, received)
            return
        before = (server.time, server.local)
        self._note(server, server_time, received, received - asked)
        if self._base is None or not is_slow:
            self._note_rate(server_time, asked, received)
        if self._base is None:
            self._agree_first(received)
            return
        line, slack = self._base_at(received), self._slack_at(received)
        high = server_time + self._advance(received - asked) + _GRAIN
        if server_time > line + slack:
            self._cap = None
            self._quarantine(server, Disagreement.AHEAD, server_time - line, received)
            self._resolve_ahead(received)
        elif line - slack > high:
            self._clock_is_behind(before, high, line, received)
        else:
            self._cap = None
            if self._has_healed(server):
                self._refine_rate()
                if high < line:
                    self._base = (high, received)  # a little late harms nobody, a little early does
                self._support(server)

    def clock_unavailable(self) -> None:
        """The exchange's clock cannot be read now."""
        self._clock_failed = True

    def _note(self, source: Source, time: int, local: float, width: float) -> None:
        """Remember a reading, and whether it continues those before."""
        advanced, elapsed = time - source.time, local - source.local
        if source.even:
            slack = self.slack + self._advance(width)
            at_rate, at_real_rate = self._advance(elapsed), int(elapsed * MICROSECONDS)
            if abs(advanced - at_rate) <= slack or abs(advanced - at_real_rate) <= slack:
                source.even += 1
            else:
                source.even, source.even_since = 1, local
        else:
            source.even, source.even_since = 1, local
        if source.origin is None:
            source.origin = (time, local)
        source.time, source.local, source.width = time, local, width

    def _judge_symbol(self, source: Source) -> bool:
        """Hold a symbol's reading against the line; True if it is ahead."""
        local, time = source.local, source.time
        line = self._line(local)
        if time > self._limit(local):
            if self._provisional:
                self._doubt(local)
                return False
            self._quarantine(source, Disagreement.AHEAD, time - line, local)
            self._ahead[source.name] = source
            return True
        is_late = time < line - LATE_SECONDS * MICROSECONDS - self._advance(LATE_SECONDS * SLACK_SECONDS)
        if self._provisional:
            if is_late:
                self._doubt(local)
                return False
            self._provisional = False
        if self._cap is not None:
            self._resolve_behind(source)
        if self._has_healed(source):
            self._support(source)
            if time >= line - self._slack_at(local) or self._has_clock(local):
                self._supported = local
            elif local - self._supported > _UNSUPPORTED_SECONDS:
                self._resolve_late(local)
        return False

    def _support(self, source: Source) -> None:
        """A reading within the slack: the line moves up to what two sources say."""
        time, local = source.time, source.local
        lead = self._lead
        if lead is None or lead[0] == source.name:
            if lead is None or time > self._at(lead[1], lead[2], local):
                self._lead = (source.name, time, local)
            return
        leading = self._at(lead[1], lead[2], local)
        agreed = min(time, leading)
        if agreed > self._base_at(local):
            self._base = (agreed, local)
        if time > leading:
            self._lead = (source.name, time, local)

    # -- quarantine ---------------------------------------------------------------------------------------------

    def _quarantine(self, source: Source, reason: Disagreement, offset: int, local: float) -> None:
        source.agreed, source.offset = 0, offset
        if self._lead is not None and self._lead[0] == source.name:
            self._lead = None
        if source.reason is reason:
            return
        if source.reason is None:
            source.since = local
        source.reason = reason
        self._ahead.pop(source.name, None)
        self.disagreements[SERVER if source is self._server else "symbol", reason] += 1
        self._new_quarantines.append(Quarantine(source.name, reason, offset, source.since))
        self._ask_pause = _ASK_SECONDS[0]

    def _has_healed(self, source: Source) -> bool:
        """Count a reading that agrees; whether its source is trusted."""
        if source.reason is None:
            return True
        source.agreed += 1
        if source.agreed < _HEAL:
            return False
        self._release(source)
        return True

    def _release(self, source: Source) -> None:
        source.reason, source.offset, source.agreed = None, 0, 0
        self._ahead.pop(source.name, None)

    # -- agreement ----------------------------------------------------------------------------------------------

    def _agree_first(self, local: float) -> None:
        """Find two sources that agree, or one that is alone and even."""
        if self._began is None:
            self._began = local
        server, waited = self._server, local - self._began
        slack = self._slack_at(local) + min(int(waited / 2), LATE_SECONDS) * MICROSECONDS
        fresh = self._fresh_symbols(local)
        rate = self._measured_rate()
        if rate is not None:
            self._rate = rate
            for source in fresh:
                if abs(self._of(source, local) - self._of(server, local)) <= slack + self._advance(server.width):
                    self._move(min(self._of(source, local), self._of(server, local)), local)
                    return
        clock_is_out = self._clock_failed or (server.even == 0 and waited >= _SERVER_WAIT_SECONDS)
        agreeing = self._cluster(fresh, self._slack_at(local), local)
        is_majority = len(agreeing) >= 2 and 2 * len(agreeing) > len(fresh)
        lasting = [each for each in agreeing if local - each.even_since >= _OUTVOTE_SECONDS]
        if is_majority and (clock_is_out or len(lasting) >= 2):
            self._move(min(self._of(each, local) for each in agreeing), local)
            return
        if len(self._symbols) == 1 and clock_is_out and server.even == 0:
            (lone,) = self._symbols.values()
            if lone.is_even(local, _LONE_START_SECONDS):
                self._move(self._of(lone, local), local)
        elif not self._symbols and rate is not None and server.is_even(local, _LONE_SECONDS):
            self._move(self._of(server, local), local)
            self._provisional = True

    def _resolve_ahead(self, local: float) -> None:
        """Move the line ahead if those who say so are independent and more than those who do not."""
        server, rate = self._server, self._rate
        # Where the speed itself has changed, readings agree only at the new one.
        self._rate = self._measured_rate() or rate
        if self._join_clock(local):
            return
        self._rate = rate
        if self._has_clock(local):
            return  # it agrees with the line
        fresh = self._fresh_ahead(local)
        agreeing = self._cluster(fresh, self._slack_at(local), local)
        if len(agreeing) >= 2 and self._outnumber(len(agreeing), local):
            time = min(self._of(s, local) for s in agreeing)
            if self._clock_was_asked(agreeing, local) and not self._clock_contradicts(time, local):
                self._move(time, local)
            return
        lone = fresh[0] if len(fresh) == 1 and len(self._symbols) == 1 else None
        if lone is not None and lone.is_even(local, _LONE_SECONDS) and local - lone.since >= _LONE_SECONDS:
            if not self._clock_contradicts(self._of(lone, local), local):
                self._move(self._of(lone, local), local)
        elif server.reason is Disagreement.AHEAD and self._server_is_alone(local):
            self._move(self._of(server, local), local)
            self._provisional = True

    def _clock_was_asked(self, agreeing: Iterable[Source], local: float) -> bool:
        """Whether the exchange's clock never answered, or has since these sources agreed, or had the time to."""
        server, begun = self._server, max(each.since for each in agreeing)
        return server.even == 0 or server.local >= begun or local - begun >= _SERVER_WAIT_SECONDS

    def _fresh_ahead(self, local: float) -> list[Source]:
        return [s for s in self._ahead.values() if local - s.local <= _VOTE_SECONDS]

    def _join_clock(self, local: float) -> bool:
        """Move the line to where symbols and the exchange's clock agree that it is, or that it is past."""
        server = self._server
        is_fresh = local - server.local <= _CONTRADICT_SECONDS
        if is_fresh and (server.is_trusted or server.reason is Disagreement.AHEAD):
            earliest, slack = self._of(server, local), self._slack_at(local)
            latest = earliest + self._advance(server.width)
            ahead = self._fresh_ahead(local)
            voters = [s for s in ahead if earliest - slack <= self._of(s, local) <= latest + slack]
            time = min((self._of(s, local) for s in voters), default=0)
            time = min(time, latest if len(voters) > 1 else earliest)
            if not voters and server.is_even(local, _LONE_START_SECONDS):
                # All who say that it is later still agree that it is as late as the clock says.
                voters, time = [s for s in ahead if self._of(s, local) > latest], earliest
            if time > self._line(local) and self._outnumber(len(voters), local):
                self._move(time, local)
                return True
        return False

    def _clock_is_behind(self, before: tuple[int, float], high: int, line: int, local: float) -> None:
        """The exchange's clock says that it is earlier than the line."""
        server = self._server
        if not self._drifted_less(high, line, local):
            self._base, self._lead = (high, local), None
            return
        self._quarantine(server, Disagreement.BEHIND, high - line, local)
        slack = self._slack_at(local)
        if any(
            each.is_trusted and local - each.local <= _CONTRADICT_SECONDS and self._of(each, local) > high + slack
            for each in self._symbols.values()
        ):
            self._cap = None
            return
        own = (server.time - before[0]) / MICROSECONDS / max(local - before[1], 1e-3)
        self._cap = (high, local, min(max(own, 0.0), self._rate))
        if self._server_is_alone(local):
            self._rate = self._measured_rate() or self._rate
            self._move(self._of(server, local), local)
            self._provisional = True

    def _drifted_less(self, high: int, line: int, local: float) -> bool:
        """Whether the line kept to where it was set last better than the exchange's clock, which is behind it."""
        if not self._server.is_trusted or self._origin is None:
            return True
        expected = self._at(*self._origin, local)
        return abs(line - expected) <= abs(high - expected)

    def _resolve_behind(self, source: Source) -> None:
        """A symbol speaks while the time stands: for the line, or for the exchange's clock, which is behind."""
        local, time = source.local, source.time
        limit = self._capped(local)
        if time > limit + self._slack_at(local):
            self._cap = None
        elif time >= limit - LATE_SECONDS * MICROSECONDS and self._outnumber_on_time(limit, local):
            self._rate = self._measured_rate() or self._rate
            self._move(min(self._of(self._server, local), limit), local)

    def _resolve_late(self, local: float) -> None:
        """Without an exchange's clock: all symbols have long been late, so the line is wrong."""
        fresh = self._fresh_symbols(local)
        agreeing = self._cluster(fresh, 2 * self._slack_at(local), local)
        alone = len(fresh) == 1 and fresh[0].is_even(local, _LONE_SECONDS)
        if (len(agreeing) >= 2 and 2 * len(agreeing) > len(fresh)) or alone:
            self._move(min(self._of(each, local) for each in agreeing or fresh), local)

    def _doubt(self, local: float) -> None:
        """The first symbol read contradicts the exchange's clock, on which alone the line was based."""
        self._base = self._lead = self._cap = None
        self._provisional = False
        self._began = local
        self.moves += 1
        self.steps_back += 1
        self._shown = 0

    def _move(self, time: int, local: float) -> None:
        """Sources agreed: the line runs through this reading from now on."""
        is_back = self._base is not None and time < self._line(local)
        self._base, self._lead, self._cap, self._provisional = (time, local), None, None, False
        self._origin = self._base
        self.moves += 1
        if is_back:
            self.steps_back += 1
            self._shown = 0
        self._supported = local
        slack = self._slack_at(local)
        for source in [self._server, *self._symbols.values()]:
            if source.even == 0:
                continue
            offset = self._of(source, local) - time
            if source is self._server:
                low, high = -slack - self._advance(source.width), slack
            else:
                low, high = -LATE_SECONDS * MICROSECONDS, slack
            if low <= offset <= high:
                self._release(source)
            elif offset > high:
                self._quarantine(source, Disagreement.AHEAD, offset, source.local)
                if source is not self._server:
                    self._ahead[source.name] = source
            elif source is self._server:
                self._quarantine(source, Disagreement.BEHIND, offset, source.local)
            source.origin = (source.time, source.local)
        if self._server.is_trusted and self._server.even:
            self._refine_rate()

    # -- arithmetic ---------------------------------------------------------------------------------------------

    def _note_rate(self, server_time: int, asked: float, received: float) -> None:
        """Take the rate between two readings of the exchange's clock, which are enough apart.

        A lower bound: they were taken at most so far apart as from asking for the first to receiving the second.
        """
        if self._clock_before is None:
            self._clock_before = (server_time, asked, received)
            return
        time, then, received_then = self._clock_before
        if received - then < BASELINE_SECONDS:
            return
        advanced = (server_time - time) / MICROSECONDS
        is_standing = advanced + 0.001 < _STANDING * (asked - received_then)
        self._rates.append(0.0 if is_standing else (advanced - 0.001) / (received - then))
        self._clock_before = (server_time, asked, received)

    def _measured_rate(self) -> float | None:
        """The rate of the exchange's clock; None while it is not known, or contradicts the symbols' own rates."""
        pairs = _PAIRS[self._base is not None]
        newest = list(self._rates)[-pairs:]
        if self._base is None and newest and newest[-1] < _FAST:
            return 1.0 if newest[-1] else None
        if len(newest) < pairs:
            return None
        rate = min(newest)
        if max(newest) < _FAST:
            return 1.0
        if rate < _FAST or max(newest) > rate * (_ALIKE if self._base is None else _SAME):
            return None
        if self._base is not None and self._rate / _SAME < rate < self._rate * _SAME:
            return self._rate
        speeds = [speed for each in self._symbols.values() if (speed := each.own_rate()) is not None]
        return None if any(speed < _SLOWEST * rate for speed in speeds) else rate

    def _refine_rate(self) -> None:
        """Keep an accelerated rate within what readings that agreed with the line allow.

        Down as soon as one pair of readings says so, up when three in a row do: a rate that is too low is made
        good by the next agreement, one that is too high closes bars early, and a jump of the clock is no speed.
        """
        server, before = self._server, self._measured
        asked, received = server.local - server.width, server.local
        if before is None or self._rate < _FAST:
            self._measured = (server.time, asked, received)
            self._slowest.clear()
            return
        time, asked_before, received_before = before
        if asked - received_before < _REFINE_SECONDS:
            return
        self._measured = (server.time, asked, received)
        advanced = (server.time - time) / MICROSECONDS
        self._slowest.append((advanced - 0.001) / (received - asked_before))
        fastest, slowest = (advanced + 0.001) / (asked - received_before), min(self._slowest)
        if self._rate / _SAME < fastest < self._rate:
            self._set_rate(fastest, received)
        elif len(self._slowest) == _REFINE_PAIRS and self._rate < slowest < self._rate * _SAME:
            self._set_rate(slowest, received)

    def _set_rate(self, rate: float, local: float) -> None:
        """Continue the line at another rate from now on."""
        if self._lead is not None:
            self._lead = (self._lead[0], self._at(self._lead[1], self._lead[2], local), local)
        self._base = (self._base_at(local), local)
        if self._origin is not None:
            self._origin = (self._at(*self._origin, local), local)
        self._rate = rate

    def _advance(self, seconds: float) -> int:
        return int(seconds * self._rate * MICROSECONDS)

    def _at(self, time: int, then: float, local: float) -> int:
        return time + int((local - then) * self._rate * MICROSECONDS)

    def _of(self, source: Source, local: float) -> int:
        """A source's newest reading, carried on to a local time."""
        return self._at(source.time, source.local, local)

    def _base_at(self, local: float) -> int:
        assert self._base is not None
        time, then = self._base  # ``_at``, inlined: every batch asks for this several times
        return time + int((local - then) * self._rate * MICROSECONDS)

    def _line(self, local: float) -> int:
        return self._line_from(self._base_at(local), local)

    def _line_from(self, base: int, local: float) -> int:
        """The line, given what two sources say at that time."""
        lead = self._lead
        if lead is None:
            return base
        leading = self._at(lead[1], lead[2], local)
        return max(base, leading)

    def _supported_line(self, local: float) -> int:
        """The line, as far as one source may lead what two say."""
        base = self._base_at(local)
        line, highest = self._line_from(base, local), base + SLACK
        return min(highest, line)

    def _slack_at(self, local: float) -> int:
        """The slack, and what clocks drift since the line was supported."""
        slack = self.slack
        if self._base is None or local <= self._base[1]:
            return slack
        unsure = _DRIFT if self._rate < _FAST else _UNSURE
        drifted = int((local - self._base[1]) * self._rate * unsure * MICROSECONDS)
        return slack + min(slack, drifted)

    def _capped(self, local: float) -> int:
        assert self._cap is not None
        time, then, rate = self._cap
        return time + int(max(0.0, local - then) * rate * MICROSECONDS)

    def _has_clock(self, local: float) -> bool:
        """Whether the exchange's clock is read and agrees with the line."""
        return self._server.is_trusted and local - self._server.local <= _SERVER_SECONDS

    def _clock_contradicts(self, time: int, local: float) -> bool:
        """Whether the exchange's clock is nearly what the line is, and far from this time."""
        server, near = self._server, _NEAR * self._slack_at(local)
        if server.reason is Disagreement.IMPOSSIBLE or local - server.local > _SERVER_SECONDS:
            return False
        is_credible = abs(server.offset) <= near or local - server.since < _CREDIBLE_SECONDS
        beyond = time - self._of(server, local) - self._advance(server.width)
        return is_credible and beyond > self._slack_at(local)

    def _server_is_alone(self, local: float) -> bool:
        """Whether no symbol gave a reading for long while the exchange's clock was even."""
        return local - self._symbol_read_at > _SILENT_SECONDS and self._server.is_even(local, _ALONE_SECONDS)

    def _limit(self, local: float) -> int:
        """The latest time that is in agreement with the line, and with the exchange's clock if that is trusted."""
        return self._limit_from(self._base_at(local) + self._slack_at(local), local)

    def _limit_from(self, limit: int, local: float) -> int:
        """The same, given the limit by the line."""
        if not self._has_clock(local):
            return limit
        server = self._server
        unsure = _DRIFT if self._rate < _FAST else _UNSURE
        margin = self._advance(server.width + (local - server.local) * unsure)
        return min(limit, self._of(server, local) + min(margin, self.slack) + self.slack)

    def _fresh_symbols(self, local: float) -> list[Source]:
        return [each for each in self._symbols.values() if local - each.local <= _VOTE_SECONDS and each.even]

    def _outnumber(self, count: int, local: float) -> bool:
        """Whether this number of symbols exceeds those that lately agreed with the line."""
        return count > sum(each.is_trusted for each in self._fresh_symbols(local))

    def _outnumber_on_time(self, limit: int, local: float) -> bool:
        """Whether more symbols say what the exchange's clock says than what the line says."""
        slack = self._slack_at(local)
        times = [self._of(each, local) for each in self._fresh_symbols(local)]
        against = sum(time > limit + slack for time in times)
        return len(times) - against > against

    def _cluster(self, sources: Iterable[Source], width: int, local: float) -> list[Source]:
        """The largest group of sources whose readings lie within a width of each other."""
        ordered = sorted(sources, key=lambda each: self._of(each, local))
        best: list[Source] = []
        begin = 0
        for end, source in enumerate(ordered):
            while self._of(source, local) - self._of(ordered[begin], local) > width:
                begin += 1
            if end - begin + 1 > len(best):
                best = ordered[begin : end + 1]
        return best
