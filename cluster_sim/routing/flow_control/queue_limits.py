"""Limits of the router's queues: requests, tokens and bytes, of all priorities together and of each."""

from pydantic import Field

from cluster_sim.options import LONGEST_RUN_S, LOWEST_PRIORITY, ConfigModel
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.request import Request

_MOST = 1_000_000_000_000_000


class QueueCapacity(ConfigModel):
    """Most that may wait."""

    max_requests: int | None = Field(None, ge=0, le=_MOST, description="Waiting requests; null is any number.")
    max_tokens: int | None = Field(None, ge=0, le=_MOST, description="Their prompt tokens; null is any number.")
    max_bytes: int | None = Field(None, ge=0, le=_MOST, description="Bytes of their prompts; null is any number.")


class PriorityCapacity(QueueCapacity):
    """Most that may wait of one priority."""

    priority: int = Field(ge=-LOWEST_PRIORITY, le=LOWEST_PRIORITY, description="Priority of the requests.")


class QueueOptions(QueueCapacity):
    """The queues of one model at the router."""

    per_priority: QueueCapacity = Field(
        QueueCapacity(), description="Most that may wait of each priority that ``priorities`` does not name."
    )
    priorities: tuple[PriorityCapacity, ...] = Field((), max_length=1000, description="Most that may wait by priority.")
    time_to_live_s: float | None = Field(
        None, gt=0, le=LONGEST_RUN_S, description="Time in the queue after which a request is turned away."
    )
    bytes_per_token: float = Field(4.0, gt=0, le=1e6, description="Bytes of a prompt for each of its tokens.")

    @property
    def time_to_live_ns(self) -> int | None:
        """The time to live in ns; None lives for ever."""
        return None if self.time_to_live_s is None else round(self.time_to_live_s * NS_PER_S)

    def capacity_of(self, priority: int) -> QueueCapacity:
        """Return the limits of one priority."""
        return next((limit for limit in self.priorities if limit.priority == priority), self.per_priority)

    def size_of(self, request: Request) -> "QueueSize":
        """Return what a request takes of the limits."""
        return QueueSize(1, request.prompt_tokens, round(request.prompt_tokens * self.bytes_per_token))


class QueueSize:
    """What waits: requests, prompt tokens and bytes."""

    __slots__ = ("prompt_bytes", "requests", "tokens")

    def __init__(self, requests: int = 0, tokens: int = 0, prompt_bytes: int = 0) -> None:
        self.requests = requests
        self.tokens = tokens
        self.prompt_bytes = prompt_bytes

    def add(self, other: "QueueSize", sign: int = 1) -> None:
        """Add another size, or with -1 take it away."""
        self.requests += sign * other.requests
        self.tokens += sign * other.tokens
        self.prompt_bytes += sign * other.prompt_bytes

    def fits(self, more: "QueueSize", capacity: QueueCapacity) -> bool:
        """Whether ``more`` can be added within a capacity."""
        return (
            _fits(self.requests + more.requests, capacity.max_requests)
            and _fits(self.tokens + more.tokens, capacity.max_tokens)
            and _fits(self.prompt_bytes + more.prompt_bytes, capacity.max_bytes)
        )


def _fits(amount: int, most: int | None) -> bool:
    return most is None or amount <= most
