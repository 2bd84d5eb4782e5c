import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BarKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BAR_KIND_UNSPECIFIED: _ClassVar[BarKind]
    BAR_KIND_SNAPSHOT: _ClassVar[BarKind]
    BAR_KIND_UPDATE: _ClassVar[BarKind]
    BAR_KIND_CLOSE: _ClassVar[BarKind]
    BAR_KIND_REVISION: _ClassVar[BarKind]
    BAR_KIND_HEARTBEAT: _ClassVar[BarKind]

class GapState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GAP_STATE_UNSPECIFIED: _ClassVar[GapState]
    GAP_STATE_OPEN: _ClassVar[GapState]
    GAP_STATE_UNFILLABLE: _ClassVar[GapState]
    GAP_STATE_FILLED: _ClassVar[GapState]
BAR_KIND_UNSPECIFIED: BarKind
BAR_KIND_SNAPSHOT: BarKind
BAR_KIND_UPDATE: BarKind
BAR_KIND_CLOSE: BarKind
BAR_KIND_REVISION: BarKind
BAR_KIND_HEARTBEAT: BarKind
GAP_STATE_UNSPECIFIED: GapState
GAP_STATE_OPEN: GapState
GAP_STATE_UNFILLABLE: GapState
GAP_STATE_FILLED: GapState

class Bar(_message.Message):
    __slots__ = ("symbol", "interval", "open_time", "close_time", "open", "high", "low", "close", "volume", "quote_volume", "trade_count", "taker_buy_volume", "taker_buy_quote_volume", "first_trade_id", "last_trade_id", "closed", "complete", "revision")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    OPEN_TIME_FIELD_NUMBER: _ClassVar[int]
    CLOSE_TIME_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    QUOTE_VOLUME_FIELD_NUMBER: _ClassVar[int]
    TRADE_COUNT_FIELD_NUMBER: _ClassVar[int]
    TAKER_BUY_VOLUME_FIELD_NUMBER: _ClassVar[int]
    TAKER_BUY_QUOTE_VOLUME_FIELD_NUMBER: _ClassVar[int]
    FIRST_TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    interval: str
    open_time: _timestamp_pb2.Timestamp
    close_time: _timestamp_pb2.Timestamp
    open: str
    high: str
    low: str
    close: str
    volume: str
    quote_volume: str
    trade_count: int
    taker_buy_volume: str
    taker_buy_quote_volume: str
    first_trade_id: int
    last_trade_id: int
    closed: bool
    complete: bool
    revision: int
    def __init__(self, symbol: _Optional[str] = ..., interval: _Optional[str] = ..., open_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., close_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., open: _Optional[str] = ..., high: _Optional[str] = ..., low: _Optional[str] = ..., close: _Optional[str] = ..., volume: _Optional[str] = ..., quote_volume: _Optional[str] = ..., trade_count: _Optional[int] = ..., taker_buy_volume: _Optional[str] = ..., taker_buy_quote_volume: _Optional[str] = ..., first_trade_id: _Optional[int] = ..., last_trade_id: _Optional[int] = ..., closed: _Optional[bool] = ..., complete: _Optional[bool] = ..., revision: _Optional[int] = ...) -> None: ...

class StreamBarsRequest(_message.Message):
    __slots__ = ("symbols", "intervals", "start_time", "closed_only", "max_updates_per_second", "resume_token")
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    INTERVALS_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    CLOSED_ONLY_FIELD_NUMBER: _ClassVar[int]
    MAX_UPDATES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    symbols: _containers.RepeatedScalarFieldContainer[str]
    intervals: _containers.RepeatedScalarFieldContainer[str]
    start_time: _timestamp_pb2.Timestamp
    closed_only: bool
    max_updates_per_second: float
    resume_token: str
    def __init__(self, symbols: _Optional[_Iterable[str]] = ..., intervals: _Optional[_Iterable[str]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., closed_only: _Optional[bool] = ..., max_updates_per_second: _Optional[float] = ..., resume_token: _Optional[str] = ...) -> None: ...

class StreamBarsResponse(_message.Message):
    __slots__ = ("kind", "bar", "sequence", "exchange_time", "send_time", "resume_token")
    KIND_FIELD_NUMBER: _ClassVar[int]
    BAR_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_TIME_FIELD_NUMBER: _ClassVar[int]
    SEND_TIME_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    kind: BarKind
    bar: Bar
    sequence: int
    exchange_time: _timestamp_pb2.Timestamp
    send_time: _timestamp_pb2.Timestamp
    resume_token: str
    def __init__(self, kind: _Optional[_Union[BarKind, str]] = ..., bar: _Optional[_Union[Bar, _Mapping]] = ..., sequence: _Optional[int] = ..., exchange_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., send_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., resume_token: _Optional[str] = ...) -> None: ...

class GetBarsRequest(_message.Message):
    __slots__ = ("symbol", "interval", "start_time", "end_time", "page_size", "page_token", "newest_first")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    NEWEST_FIRST_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    interval: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    page_size: int
    page_token: str
    newest_first: bool
    def __init__(self, symbol: _Optional[str] = ..., interval: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., newest_first: _Optional[bool] = ...) -> None: ...

class GetBarsResponse(_message.Message):
    __slots__ = ("bars", "next_page_token")
    BARS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    bars: _containers.RepeatedCompositeFieldContainer[Bar]
    next_page_token: str
    def __init__(self, bars: _Optional[_Iterable[_Union[Bar, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListSymbolsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListSymbolsResponse(_message.Message):
    __slots__ = ("symbols", "intervals")
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    INTERVALS_FIELD_NUMBER: _ClassVar[int]
    symbols: _containers.RepeatedCompositeFieldContainer[Symbol]
    intervals: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, symbols: _Optional[_Iterable[_Union[Symbol, _Mapping]]] = ..., intervals: _Optional[_Iterable[str]] = ...) -> None: ...

class Symbol(_message.Message):
    __slots__ = ("symbol", "status")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    status: str
    def __init__(self, symbol: _Optional[str] = ..., status: _Optional[str] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("version", "start_time", "exchange", "exchange_time", "ready", "not_ready_reasons", "symbols", "subscribers", "notices", "process", "ingesters")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_TIME_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    NOT_READY_REASONS_FIELD_NUMBER: _ClassVar[int]
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBERS_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    INGESTERS_FIELD_NUMBER: _ClassVar[int]
    version: str
    start_time: _timestamp_pb2.Timestamp
    exchange: str
    exchange_time: _timestamp_pb2.Timestamp
    ready: bool
    not_ready_reasons: _containers.RepeatedScalarFieldContainer[str]
    symbols: _containers.RepeatedCompositeFieldContainer[SymbolStatus]
    subscribers: int
    notices: _containers.RepeatedScalarFieldContainer[str]
    process: str
    ingesters: _containers.RepeatedCompositeFieldContainer[Ingester]
    def __init__(self, version: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., exchange: _Optional[str] = ..., exchange_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ready: _Optional[bool] = ..., not_ready_reasons: _Optional[_Iterable[str]] = ..., symbols: _Optional[_Iterable[_Union[SymbolStatus, _Mapping]]] = ..., subscribers: _Optional[int] = ..., notices: _Optional[_Iterable[str]] = ..., process: _Optional[str] = ..., ingesters: _Optional[_Iterable[_Union[Ingester, _Mapping]]] = ...) -> None: ...

class Ingester(_message.Message):
    __slots__ = ("name", "rank", "ready", "symbols")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    name: str
    rank: int
    ready: bool
    symbols: int
    def __init__(self, name: _Optional[str] = ..., rank: _Optional[int] = ..., ready: _Optional[bool] = ..., symbols: _Optional[int] = ...) -> None: ...

class SymbolStatus(_message.Message):
    __slots__ = ("symbol", "status", "live", "last_trade_id", "last_trade_time", "lag_ms", "reconnects", "trades", "duplicates", "gaps", "gaps_filled", "last_price", "minutes_left")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    LAST_TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_TRADE_TIME_FIELD_NUMBER: _ClassVar[int]
    LAG_MS_FIELD_NUMBER: _ClassVar[int]
    RECONNECTS_FIELD_NUMBER: _ClassVar[int]
    TRADES_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    GAPS_FILLED_FIELD_NUMBER: _ClassVar[int]
    LAST_PRICE_FIELD_NUMBER: _ClassVar[int]
    MINUTES_LEFT_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    status: str
    live: bool
    last_trade_id: int
    last_trade_time: _timestamp_pb2.Timestamp
    lag_ms: float
    reconnects: int
    trades: int
    duplicates: int
    gaps: _containers.RepeatedCompositeFieldContainer[Gap]
    gaps_filled: int
    last_price: str
    minutes_left: int
    def __init__(self, symbol: _Optional[str] = ..., status: _Optional[str] = ..., live: _Optional[bool] = ..., last_trade_id: _Optional[int] = ..., last_trade_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., lag_ms: _Optional[float] = ..., reconnects: _Optional[int] = ..., trades: _Optional[int] = ..., duplicates: _Optional[int] = ..., gaps: _Optional[_Iterable[_Union[Gap, _Mapping]]] = ..., gaps_filled: _Optional[int] = ..., last_price: _Optional[str] = ..., minutes_left: _Optional[int] = ...) -> None: ...

class Gap(_message.Message):
    __slots__ = ("first_trade_id", "last_trade_id", "state", "reason")
    FIRST_TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    first_trade_id: int
    last_trade_id: int
    state: GapState
    reason: str
    def __init__(self, first_trade_id: _Optional[int] = ..., last_trade_id: _Optional[int] = ..., state: _Optional[_Union[GapState, str]] = ..., reason: _Optional[str] = ...) -> None: ...
