"""The trades that a program handed out, and the CPU time that it took. Every environment can import this."""

import json
import resource
import sys
import time


def waits() -> int:
    """How often this process has waited for something so far, such as the next frame."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw


class Tally:
    """Count trades; the clock runs from the end of the warm-up to the last one."""

    def __init__(self, trades: int, warm: int) -> None:
        self.seen = self.ids = 0
        self.cpu: float | None = None
        self.waits = 0
        self._trades, self._warm = trades, warm
        self._begun, self._waits_before = 0.0, 0

    def take(self, trade_id: int) -> bool:
        """Count one trade; whether it was the last."""
        self.seen += 1
        self.ids += trade_id
        if self.seen == self._warm:
            self._begun, self._waits_before = time.process_time(), waits()
        if self.seen != self._trades:
            return False
        self.cpu, self.waits = time.process_time() - self._begun, waits() - self._waits_before
        return True

    def publish(self) -> None:
        """Print what the parent process reads."""
        found = {"cpu": self.cpu, "waits": self.waits, "seen": self.seen, "ids": self.ids}
        print(json.dumps(found), flush=True)


def arguments() -> tuple[str, int, int, list[str]]:
    """URL without a path, trades, those of them that warm up, and what else a program takes."""
    url, trades, warm, *others = sys.argv[1:]
    return url, int(trades), int(warm), others
