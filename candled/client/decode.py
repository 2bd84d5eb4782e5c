"""Convert the API's messages to the client's own values."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from candled.api import candles_pb2 as pb
from candled.client.model import (
    Bar,
    Gap,
    GapState,
    Heartbeat,
    Ingester,
    Kind,
    Message,
    Status,
    Symbol,
    SymbolStatus,
)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_KINDS: Final = {pb.BarKind.Value(f"BAR_KIND_{kind.name}"): kind for kind in Kind}
_GAP_STATES: Final = {pb.GapState.Value(f"GAP_STATE_{state.name}"): state for state in GapState}


def decode_message(message: pb.StreamBarsResponse) -> Message | Heartbeat:
    """Decode a message of a stream."""
    exchange_time = _time(message.exchange_time) if message.HasField("exchange_time") else None
    if not message.HasField("bar"):
        return Heartbeat(
            sequence=message.sequence, exchange_time=exchange_time, send_time=_time(message.send_time)
        )
    return Message(
        kind=_KINDS[message.kind],
        bar=decode_bar(message.bar),
        sequence=message.sequence,
        exchange_time=exchange_time,
        send_time=_time(message.send_time),
        resume_token=message.resume_token,
    )


def decode_bar(bar: pb.Bar) -> Bar:
    """Decode a bar."""
    traded = bar.HasField("first_trade_id")
    return Bar(
        symbol=bar.symbol,
        interval=bar.interval,
        open_time=_time(bar.open_time),
        close_time=_time(bar.close_time),
        open=Decimal(bar.open),
        high=Decimal(bar.high),
        low=Decimal(bar.low),
        close=Decimal(bar.close),
        volume=Decimal(bar.volume),
        quote_volume=Decimal(bar.quote_volume),
        trade_count=bar.trade_count,
        taker_buy_volume=Decimal(bar.taker_buy_volume),
        taker_buy_quote_volume=Decimal(bar.taker_buy_quote_volume),
        first_trade_id=bar.first_trade_id if traded else None,
        last_trade_id=bar.last_trade_id if traded else None,
        closed=bar.closed,
        complete=bar.complete,
        revision=bar.revision,
    )


def decode_symbols(answer: pb.ListSymbolsResponse) -> list[Symbol]:
    """Decode the list of symbols served."""
    return [Symbol(symbol=each.symbol, status=each.status) for each in answer.symbols]


def decode_status(answer: pb.GetStatusResponse) -> Status:
    """Decode the daemon's status."""
    return Status(
        version=answer.version,
        start_time=_time(answer.start_time),
        exchange=answer.exchange,
        exchange_time=_time(answer.exchange_time),
        ready=answer.ready,
        not_ready_reasons=tuple(answer.not_ready_reasons),
        notices=tuple(answer.notices),
        symbols=tuple(_symbol_status(each) for each in answer.symbols),
        subscribers=answer.subscribers,
        process=answer.process,
        ingesters=tuple(
            Ingester(name=each.name, rank=each.rank, ready=each.ready, symbols=each.symbols)
            for each in answer.ingesters
        ),
    )


def encode_time(moment: datetime | None) -> Timestamp | None:
    """Encode a time for a request.

    Raises:
        ValueError: it has no time zone.
    """
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError("a time without time zone: give an aware datetime, such as datetime.now(UTC)")
    seconds, rest = divmod(moment - _EPOCH, timedelta(seconds=1))
    return Timestamp(seconds=seconds, nanos=rest // timedelta(microseconds=1) * 1000)


def _symbol_status(status: pb.SymbolStatus) -> SymbolStatus:
    return SymbolStatus(
        symbol=status.symbol,
        status=status.status,
        live=status.live,
        last_trade_id=status.last_trade_id if status.HasField("last_trade_id") else None,
        last_trade_time=_time(status.last_trade_time) if status.HasField("last_trade_time") else None,
        last_price=Decimal(status.last_price) if status.last_price else None,
        lag_ms=status.lag_ms,
        reconnects=status.reconnects,
        trades=status.trades,
        duplicates=status.duplicates,
        gaps=tuple(_gap(gap) for gap in status.gaps),
        gaps_filled=status.gaps_filled,
        minutes_left=status.minutes_left,
    )


def _gap(gap: pb.Gap) -> Gap:
    return Gap(
        first_trade_id=gap.first_trade_id,
        last_trade_id=gap.last_trade_id,
        state=_GAP_STATES.get(gap.state, GapState.OPEN),
        reason=gap.reason,
    )


def _time(time: Timestamp) -> datetime:
    return _EPOCH + timedelta(seconds=time.seconds, microseconds=time.nanos // 1000)
