"""The tables of metrics of what is read from the exchange: feed, repair and REST."""

from collections.abc import Mapping, Sequence
from typing import Final

from candled.feed.adapter import RestClient
from candled.feed.feed import Feed
from candled.feed.refusals import RefusalBook
from candled.feed.repair.context import RepairCounts
from candled.telemetry.table import Metric, by_label, one


def _reasons(refusals: RefusalBook) -> Mapping[str, int]:
    return {reason.value: count for reason, count in refusals.counts.items()}


FEED_METRICS: Final[Sequence[Metric[Feed]]] = (
    Metric(
        "candled_feed_frames_total", "counter", "Websocket frames read from the exchange.", (),
        one(lambda feed: feed.counts.frames),
    ),
    Metric(
        "candled_feed_received_bytes_total", "counter", "Payload bytes of those frames.", (),
        one(lambda feed: feed.counts.bytes),
    ),
    Metric(
        "candled_feed_connections", "gauge", "Open stream connections.", (),
        one(lambda feed: feed.connected),
    ),
    Metric(
        "candled_feed_malformed_total", "counter", "Frames skipped because they are no valid message.", (),
        one(lambda feed: feed.refusals.total),
    ),
    Metric(
        "candled_feed_refused_total", "counter", "Frames skipped, by what is wrong with them.", ("reason",),
        by_label(lambda feed: _reasons(feed.refusals)),
    ),
    Metric(
        "candled_feed_dropped_batches_total", "counter",
        "Batches of trades dropped because the engine's queue was full; their ids are fetched.", (),
        one(lambda feed: feed.counts.dropped_batches),
    ),
    Metric(
        "candled_feed_connects_total", "counter", "Stream connections opened.", (),
        one(lambda feed: feed.counts.connects),
    ),
    Metric(
        "candled_feed_connect_failures_total", "counter", "Failed attempts to open a stream connection.", (),
        one(lambda feed: feed.counts.connect_failures),
    ),
    Metric(
        "candled_feed_disconnects_total", "counter", "Stream connections lost.", (),
        one(lambda feed: feed.counts.disconnects),
    ),
    Metric(
        "candled_feed_roll_overs_total", "counter", "Stream connections replaced before the exchange ends them.",
        (),
        one(lambda feed: feed.counts.roll_overs),
    ),
    Metric(
        "candled_feed_stalls_total", "counter",
        "Stream connections replaced because they were silent while trades took place.",
        (),
        one(lambda feed: feed.counts.stalls),
    ),
)  # fmt: skip
"""Read from the feed."""


REPAIR_METRICS: Final[Sequence[Metric[RepairCounts]]] = (
    Metric(
        "candled_repair_pages_total", "counter", "Pages of trades or klines fetched to fill gaps.", (),
        one(lambda repair: repair.pages),
    ),
    Metric(
        "candled_repair_trades_total", "counter", "Trades that the repair fetched.", (),
        one(lambda repair: repair.trades),
    ),
    Metric(
        "candled_repair_klines_total", "counter", "Minutes that the repair filled from klines.", (),
        one(lambda repair: repair.klines),
    ),
    Metric(
        "candled_repair_failures_total", "counter", "Repair requests that failed or were refused.", (),
        one(lambda repair: repair.failures),
    ),
    Metric(
        "candled_repair_unfillable_total", "counter", "Gaps found to be unfillable.", (),
        one(lambda repair: repair.unfillable),
    ),
)  # fmt: skip
"""Read from the repair."""


REST_METRICS: Final[Sequence[Metric[RestClient]]] = (
    Metric(
        "candled_rest_requests_total", "counter", "REST requests to the exchange.", (),
        one(lambda rest: rest.requests),
    ),
    Metric(
        "candled_rest_failures_total", "counter", "REST requests that failed.", (),
        one(lambda rest: rest.failures),
    ),
    Metric(
        "candled_rest_received_bytes_total", "counter", "Bytes of REST response bodies.", (),
        one(lambda rest: rest.bytes),
    ),
    Metric(
        "candled_rest_refused_total", "counter",
        "Rows and headers of answers that were refused, by what is wrong with them.", ("reason",),
        by_label(lambda rest: _reasons(rest.refusals)),
    ),
    Metric(
        "candled_rest_weight_used", "gauge", "Request weight used in the last minute.", (),
        one(lambda rest: rest.weight_used),
    ),
    Metric(
        "candled_rest_weight_limit", "gauge", "Limit on the request weight of a minute.", (),
        one(lambda rest: rest.weight_limit),
    ),
)  # fmt: skip
"""Read from the REST client."""
