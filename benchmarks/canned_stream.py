"""A websocket server that sends the same ready-made trade messages as fast as they are taken.

usage: python -m benchmarks.canned_stream TRADES SEED CORE [RATE [WARM [FORM]]]

Prints its port, then serves one client after another. With RATE each message is sent alone, RATE per second. The
first WARM messages are followed by a pause, in which a client handles all of them. FORM is trade or aggTrade.
"""

import base64
import hashlib
import os
import random
import socket
import sys
import time
from collections.abc import Sequence
from typing import Final

PRICES: Final = {"BTCUSDT": (9_600_000, 2), "ETHUSDT": (340_000, 2), "PEPEUSDT": (2_100, 8)}
"""First price in units of its last decimal, and its decimals."""
START_MS: Final = 1_790_000_040_000
TRADES_PER_MINUTE: Final = 3_000
PAUSE_SECONDS: Final = 0.5
_ACCEPT: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def messages(count: int, seed: int, form: str = "trade") -> list[bytes]:
    """``count`` messages in Binance's combined form, ids without gaps; an aggTrade holds one fill."""
    rng = random.Random(seed)
    prices = {symbol: price for symbol, (price, _) in PRICES.items()}
    ids = dict.fromkeys(PRICES, 1_000_000)
    made = []
    for number in range(count):
        symbol = rng.choice(list(PRICES))
        decimals = PRICES[symbol][1]
        prices[symbol] = max(1, prices[symbol] + rng.randint(-3, 3))
        ids[symbol] += 1
        price = f"{prices[symbol] / 10**decimals:.{decimals}f}"
        price += "0" * (8 - len(price.partition(".")[2]))
        quantity = (
            f"{rng.randint(1, 900_000)}.00000000" if symbol == "PEPEUSDT" else f"0.{rng.randint(1, 999_999):06d}00"
        )
        time = START_MS + number * 60_000 // TRADES_PER_MINUTE
        maker = "true" if rng.random() < 0.5 else "false"
        number_key, fills = ("t", "") if form == "trade" else ("a", f'"f":{ids[symbol]},"l":{ids[symbol]},')
        made.append(
            f'{{"stream":"{symbol.lower()}@{form}","data":{{"e":"{form}","E":{time + 2},"s":"{symbol}",'
            f'"{number_key}":{ids[symbol]},"p":"{price}","q":"{quantity}",{fills}"T":{time},"m":{maker},'
            '"M":true}}'.encode()
        )
    return made


def server_frame(message: bytes) -> bytes:
    """One unmasked text frame."""
    assert 125 < len(message) < 65_536
    return b"\x81\x7e" + len(message).to_bytes(2, "big") + message


def serve(count: int, seed: int, rate: float = 0.0, warm: int = 0, form: str = "trade") -> None:
    """Serve clients until killed; ``rate``: messages a second, each alone; 0: all at once."""
    frames = [server_frame(message) for message in messages(count, seed, form)]
    parts = [frames[:warm], frames[warm:]] if warm else [frames]
    content = parts if rate else [[b"".join(part)] for part in parts]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()
            with client:
                _serve_client(client, content, rate)


def _serve_client(client: socket.socket, content: Sequence[Sequence[bytes]], rate: float) -> None:
    if not shake_hands(client):
        return
    try:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for place, part in enumerate(content):
            if place:
                time.sleep(PAUSE_SECONDS)
            begun = time.perf_counter()
            for number, piece in enumerate(part):
                if rate:
                    time.sleep(max(0.0, begun + number / rate - time.perf_counter()))
                client.sendall(piece)
        while client.recv(65_536):  # until the client has what it wants
            pass
    except OSError:
        pass


def shake_hands(client: socket.socket) -> bool:
    """Answer the websocket handshake; False if the client has left."""
    request = b""
    while b"\r\n\r\n" not in request:
        chunk = client.recv(65_536)
        if not chunk:
            return False
        request += chunk
    key = next(
        line.split(b":")[1].strip()
        for line in request.split(b"\r\n")
        if line.lower().startswith(b"sec-websocket-key")
    )
    accept = base64.b64encode(hashlib.sha1(key + _ACCEPT).digest())  # the handshake's own
    client.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    return True


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[3])})
    serve(
        int(sys.argv[1]),
        int(sys.argv[2]),
        float(sys.argv[4]) if len(sys.argv) > 4 else 0.0,
        int(sys.argv[5]) if len(sys.argv) > 5 else 0,
        sys.argv[6] if len(sys.argv) > 6 else "trade",
    )
