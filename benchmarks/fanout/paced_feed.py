"""A websocket server that sends made-up trades at a steady pace, and then reports when it sent each.

usage: python -m benchmarks.fanout.paced_feed TRADES TRADES_PER_SECOND   prints its port, and at the end the times
"""

import json
import socket
import sys
import time

import msgspec

from benchmarks.canned_stream import messages, server_frame, shake_hands


def serve(count: int, rate: float) -> None:
    """Serve one client."""
    made = messages(count, seed=1)
    sent = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        client, _ = listener.accept()
        with client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if not shake_hands(client):
                return
            time.sleep(1)
            start = time.monotonic()
            for number, message in enumerate(made):
                time.sleep(max(0.0, start + number / rate - time.monotonic()))
                trade = msgspec.json.decode(message)["data"]
                sent.append((trade["s"], trade["t"], time.time()))
                client.sendall(server_frame(message))
            print(json.dumps(sent), flush=True)
            time.sleep(600)


if __name__ == "__main__":
    serve(int(sys.argv[1]), float(sys.argv[2]))
