"""Watch over the live metrics of a driver: counters that fall, and how long simulated time stands still."""

import re
import threading
import time
import urllib.request
from contextlib import suppress
from http.client import HTTPException

CLOCK = "cluster_sim_simulated_seconds_total"
PERIOD_S = 0.1
_SAMPLE = re.compile(r"^(\w+(?:_total|_count|_sum|_bucket)(?:\{[^}]*\})?) (\S+)$", re.MULTILINE)


class LiveWatch:
    """Scrapes one port until it is closed; the process behind the port may be another one after ``begin_life``."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/metrics"
        self._is_over = threading.Event()
        self._last: dict[str, float] = {}
        self.fallen: list[str] = []
        """Counters that fell while one process served them."""
        self.clock_s = 0.0
        """Latest simulated time."""
        self.moves_s: list[float] = []
        """When it moved, on the clock of this process."""
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def begin_life(self) -> None:
        """Take in that another process serves from now on."""
        self._last = {}
        self.clock_s = 0.0

    def close(self) -> None:
        """Scrape no more."""
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(PERIOD_S):
            with suppress(OSError, ValueError, HTTPException):  # The server may die in mid-page.
                before = self._last
                with urllib.request.urlopen(self._url, timeout=5) as answer:
                    page = answer.read().decode()
                if before is self._last:
                    self._take(dict(_SAMPLE.findall(page)))

    def _take(self, samples: dict[str, str]) -> None:
        found = {name: float(value) for name, value in samples.items()}
        self.fallen += [
            f"{name} fell from {self._last[name]} to {value}"
            for name, value in found.items()
            if value < self._last.get(name, value) - 1e-9
        ]
        self._last = found
        clock_s = next((value for name, value in found.items() if name.startswith(CLOCK)), 0.0)
        if clock_s > self.clock_s:
            self.clock_s = clock_s
            self.moves_s.append(time.monotonic())

    def stood_still_s(self, since_s: float, until_s: float) -> float:
        """Return the longest time without a move that began between two times or was under way at the first."""
        pairs = zip(self.moves_s, self.moves_s[1:], strict=False)
        return max(
            (end - max(begin, since_s) for begin, end in pairs if end > since_s and begin < until_s), default=0.0
        )
