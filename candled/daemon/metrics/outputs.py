"""The tables of metrics of what goes out: streams, both ports and the history."""

from collections.abc import Sequence
from typing import Final

from candled.history import HistoryStatistics
from candled.history.objects.statistics import UploadStatistics
from candled.stream.grpc.internals.connections import ServerStatistics
from candled.stream.hub import HubStatistics
from candled.stream.web.application import HttpCounts
from candled.telemetry.latency import LatencyHistograms
from candled.telemetry.table import Metric, by_label, one

STREAM_METRICS: Final[Sequence[Metric[HubStatistics]]] = (
    Metric(
        "candled_subscribers", "gauge", "Open streams of gRPC clients and charts.", (),
        one(lambda hub: hub.subscribers),
    ),
    Metric(
        "candled_stream_messages_total", "counter",
        "Messages published to streams, each counted once for all its subscribers.", (),
        one(lambda hub: hub.messages),
    ),
    Metric(
        "candled_stream_conflated_total", "counter",
        "Forming bars replaced by a newer one before a slow stream took them.", (),
        one(lambda hub: hub.conflated),
    ),
    Metric(
        "candled_stream_fell_behind_total", "counter",
        "Streams ended because too many closed bars waited for them.",
        (),
        one(lambda hub: hub.fell_behind),
    ),
    Metric(
        "candled_stream_unstored_bars", "gauge", "Closed bars published and not stored yet.", (),
        one(lambda hub: hub.unstored),
    ),
)  # fmt: skip
"""Read from the hub."""


GRPC_METRICS: Final[Sequence[Metric[ServerStatistics]]] = (
    Metric(
        "candled_grpc_connections", "gauge", "Open connections of gRPC clients.", (),
        one(lambda server: server.connections),
    ),
    Metric(
        "candled_grpc_sent_bytes_total", "counter", "Bytes acknowledged by gRPC clients (Linux only).", (),
        lambda server: [] if server.bytes_sent is None else [((), server.bytes_sent)],
    ),
    Metric(
        "candled_grpc_connections_pending", "gauge",
        "Connections of gRPC clients that have not spoken HTTP/2 yet; they have limits of their own.", (),
        one(lambda server: server.admission.pending),
    ),
    Metric(
        "candled_grpc_connections_refused_total", "counter",
        "Connections closed before anything was read, by the limit that they were beyond.", ("limit",),
        by_label(lambda server: server.admission.refused),
    ),
    Metric(
        "candled_grpc_connections_cut_total", "counter",
        "Connections of gRPC clients that were cut for what they did or left undone, by the cause.", ("cause",),
        by_label(lambda server: server.cuts),
    ),
)  # fmt: skip
"""Read from the gRPC server."""


HTTP_METRICS: Final[Sequence[Metric[HttpCounts]]] = (
    Metric(
        "candled_http_requests_total", "counter", "Requests to the HTTP port, by response status.",
        ("status",),
        by_label(lambda http: {str(status): count for status, count in http.requests.items()}),
    ),
    Metric(
        "candled_http_sent_bytes_total", "counter",
        "Bytes of HTTP response bodies, event streams of charts included.",
        (),
        one(lambda http: http.bytes_sent),
    ),
    Metric(
        "candled_http_connections", "gauge", "Connections to the HTTP port.", (),
        one(lambda http: http.admission.statistics().open),
    ),
    Metric(
        "candled_http_connections_refused_total", "counter",
        "Connections beyond a limit, by that limit; a few of them are answered with 503, or about health.",
        ("limit",),
        by_label(lambda http: http.admission.statistics().refused),
    ),
    Metric(
        "candled_http_connections_cut_total", "counter",
        "Connections to the HTTP port that were cut for what they did or left undone, by the cause.", ("cause",),
        by_label(lambda http: http.cuts),
    ),
)  # fmt: skip
"""Read from the HTTP port."""


HISTORY_METRICS: Final[Sequence[Metric[HistoryStatistics]]] = (
    Metric(
        "candled_stored_rows_total", "counter", "Bars and revisions stored.", (),
        one(lambda history: history.rows_stored),
    ),
    Metric(
        "candled_commit_seconds", "histogram", "Duration of commits to the journal.", (),
        one(lambda history: history.commits),
    ),
    Metric(
        "candled_unpublished_rows", "gauge", "Rows of the journal that are in no Parquet file yet.", (),
        one(lambda history: history.rows_unpublished),
    ),
    Metric(
        "candled_journal_rows", "gauge", "Rows in the journal.", (),
        one(lambda history: history.journal_rows),
    ),
    Metric(
        "candled_journal_bytes", "gauge", "Size of the journal.", (),
        one(lambda history: history.journal_bytes),
    ),
    Metric(
        "candled_publications_total", "counter", "Recent files written.", (),
        one(lambda history: history.publications),
    ),
    Metric(
        "candled_parquet_files", "gauge", "Parquet files in the data directory.", ("kind",),
        by_label(lambda history: {
            "recent": history.recent_files,
            "sealed": history.sealed_files,
            "superseded": history.superseded_files,
        }),
    ),
    Metric(
        "candled_parquet_bytes", "gauge",
        "Size of those files when they were last measured, after a compaction step.",
        ("kind",),
        by_label(lambda history: {
            "recent": history.recent_bytes,
            "sealed": history.sealed_bytes,
            "superseded": history.superseded_bytes,
        }),
    ),
    Metric(
        "candled_history_write_errors_total", "counter", "Writes that the disk refused; they are retried.", (),
        one(lambda history: history.write_errors),
    ),
)  # fmt: skip
"""Read from the history."""


UPLOAD_METRICS: Final[Sequence[Metric[UploadStatistics]]] = (
    Metric(
        "candled_upload_behind_seconds", "gauge",
        "How long the oldest Parquet file that the object store lacks has waited; 0: it has all.", (),
        one(lambda upload: upload.behind_seconds),
    ),
    Metric(
        "candled_upload_files_waiting", "gauge", "Parquet files that the object store lacks.", (),
        one(lambda upload: upload.files_waiting),
    ),
    Metric(
        "candled_upload_files_total", "counter", "Parquet files put into the object store.", (),
        one(lambda upload: upload.files_put),
    ),
    Metric(
        "candled_upload_bytes_total", "counter", "Bytes of those files.", (),
        one(lambda upload: upload.bytes_put),
    ),
    Metric(
        "candled_upload_deleted_total", "counter", "Superseded objects deleted.", (),
        one(lambda upload: upload.objects_deleted),
    ),
    Metric(
        "candled_upload_errors_total", "counter",
        "Requests to the object store that failed; they are retried.", (),
        one(lambda upload: upload.errors),
    ),
    Metric(
        "candled_upload_stopped", "gauge",
        "1 once nothing is uploaded any more, because another process writes that history.", (),
        one(lambda upload: upload.fenced),
    ),
)  # fmt: skip
"""Read from the uploader, where ``history_url`` is set."""


LAG_METRICS: Final[Sequence[Metric[LatencyHistograms]]] = (
    Metric(
        "candled_lag_seconds", "histogram",
        "Delay of each stage of a batch's way: received (exchange time to arrival), published (arrival to every "
        "stream), stored (closed bars, publication to disk).",
        ("stage",),
        by_label(lambda latency: {
            "received": latency.received,
            "published": latency.published,
            "stored": latency.stored,
        }),
    ),
)  # fmt: skip
"""Read from the latency histograms."""
