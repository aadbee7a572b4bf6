"""Options of live metrics."""

from dataclasses import dataclass
from typing import Final, Literal

NamesChoice = Literal["auto", "vllm", "sglang"]
"""Whose names the series of engines have; ``auto`` gives each engine its own."""

LOOPBACK: Final = "127.0.0.1"
"""Nobody on another machine reaches the metrics without being asked to."""
LINGER_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class MetricsOptions:
    """Where and how live metrics are served."""

    port: int
    """TCP port; 0 takes any."""
    host: str = LOOPBACK
    names: NamesChoice = "auto"
    linger_s: float = LINGER_S
    """Longest wait at the end of a run for a scraper to read the last page."""
