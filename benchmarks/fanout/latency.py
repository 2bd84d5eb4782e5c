"""From a trade on the exchange's socket to the update at 50 clients, through feed, engine and stream."""

import time

from benchmarks.fanout.client import Connection, quantile_ms, read_all
from benchmarks.fanout.running import PATIENCE, own_server, run_server
from candled.api import candles_pb2 as pb

CLIENTS = 50
TRADES_PER_SECOND = 200
TARGET_P50_MS, TARGET_P99_MS = 2.0, 10.0


def measure_latency(seconds: float) -> dict[str, float]:
    """Quantiles over all clients and trades."""
    trades = round(TRADES_PER_SECOND * seconds)
    arrived: list[tuple[str, int, float]] = []

    def take(data: bytes, now: float) -> None:
        bar = pb.StreamBarsResponse.FromString(data).bar
        arrived.append((bar.symbol, bar.last_trade_id, now))

    with run_server(own_server("daemon", CLIENTS, trades, TRADES_PER_SECOND)) as server:
        clients = [Connection(server.port, 1, take) for _ in range(CLIENTS)]
        began = time.monotonic()
        read_all(clients, lambda: len(arrived) >= trades * CLIENTS, seconds + PATIENCE)
        lasted = time.monotonic() - began
        sent = {(symbol, trade_id): moment for symbol, trade_id, moment in server.report_received()["sent"]}
        for client in clients:
            client.sock.close()
    latencies = [now - sent[symbol, trade_id] for symbol, trade_id, now in arrived if (symbol, trade_id) in sent]
    result = {
        "clients": float(CLIENTS),
        "trades_per_second": float(TRADES_PER_SECOND),
        "updates": float(len(latencies)),
        "p50_ms": quantile_ms(latencies, 0.5),
        "p99_ms": quantile_ms(latencies, 0.99),
        "max_ms": quantile_ms(latencies, 1.0),
    }
    print(
        f"trade sent to update received, {TRADES_PER_SECOND} trades/s x {CLIENTS} clients, {lasted:.0f} s:"
        f" p50 {result['p50_ms']:.2f} ms (less than {TARGET_P50_MS:.0f} wanted)"
        f"  p99 {result['p99_ms']:.2f} ms (less than {TARGET_P99_MS:.0f} wanted)  max {result['max_ms']:.2f} ms",
        flush=True,
    )
    return result
