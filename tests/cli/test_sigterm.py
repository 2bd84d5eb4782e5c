"""The embedded exchange ends in order when a service manager or a container asks it to."""

import signal
import subprocess
import sys


def test_the_exchange_ends_with_status_0_on_sigterm() -> None:
    command = [sys.executable, "-m", "candled.cli.main", "exchange", "--address", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as exchange:
        assert exchange.stderr is not None
        try:
            assert "streams at" in exchange.stderr.readline()
            exchange.send_signal(signal.SIGTERM)
            assert exchange.wait(timeout=20) == 0
        finally:
            exchange.kill()
