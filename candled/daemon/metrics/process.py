"""The tables of metrics of the process: queues, event loop, tasks and log."""

from collections.abc import Mapping, Sequence
from typing import Final

import trio

from candled.telemetry.table import Metric, by_label, one
from candled.telemetry.watchdog import LoopWatch

QUEUE_METRICS: Final[Sequence[Metric[Mapping[str, trio.MemoryChannelStatistics]]]] = (
    Metric(
        "candled_queue_items", "gauge", "Batches in a queue.", ("queue",),
        by_label(lambda queues: {name: queue.current_buffer_used for name, queue in queues.items()}),
    ),
    Metric(
        "candled_queue_limit_items", "gauge", "Capacity of a queue in batches.", ("queue",),
        by_label(lambda queues: {name: queue.max_buffer_size for name, queue in queues.items()}),
    ),
)  # fmt: skip
"""Read from the channels between the parts."""


LOOP_METRICS: Final[Sequence[Metric[LoopWatch]]] = (
    Metric(
        "candled_event_loop_held_seconds", "histogram",
        "Turns of the event loop of at least 1 ms: nothing is read and no deadline fires during one.", (),
        one(lambda loop: loop.held),
    ),
    Metric(
        "candled_event_loop_held_max_seconds", "gauge", "Longest turn of the event loop since the start.", (),
        one(lambda loop: loop.held_max),
    ),
)  # fmt: skip
"""Read from the watchdog."""


RUN_METRICS: Final[Sequence[Metric[trio.lowlevel.RunStatistics]]] = (
    Metric(
        "candled_tasks", "gauge", "Living Trio tasks of the process.",
        (),
        one(lambda run: run.tasks_living),
    ),
)  # fmt: skip
"""Read from Trio's own statistics."""


LOG_METRICS: Final[Sequence[Metric[Mapping[str, int]]]] = (
    Metric(
        "candled_log_lines_total", "counter", "Log lines, those included that were suppressed and summed up.",
        ("level",),
        by_label(lambda lines: lines),
    ),
)  # fmt: skip
"""Read from ``LogCounts.statistics``."""
