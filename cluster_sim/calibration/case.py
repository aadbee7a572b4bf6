"""Case: one measured run of a real engine, as configuration and workload on one side and measurements on the other.

Only the first side reaches the simulator.  What was measured is kept apart and is read by the scoring alone.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

WHOLE_RUN = -1
"""The stage number of a whole run."""

Key = tuple[int, str]
"""(stage, metric): ``WHOLE_RUN`` or the load stage, and for example "ttft_mean"."""


@dataclass(frozen=True, slots=True)
class Requests:
    """The requests of a run in the order of their arrival, one row each."""

    arrival_s: FloatArray
    prompt_tokens: Int64Array
    output_tokens: Int64Array
    stage: Int64Array
    """Load stage, from 0."""
    prompt_ids: Int64Array | None = None
    """Equal ids mean equal prompts (and so equal KV); None: all differ, unless ``segments`` says otherwise."""
    segments: tuple[tuple[tuple[int, int], ...], ...] | None = None
    """Content of every prompt as chained (segment id, tokens), where that was recorded."""

    def __len__(self) -> int:
        return len(self.arrival_s)


@dataclass(frozen=True, slots=True)
class Case:
    """One run of one serving engine."""

    dataset: str
    run: str
    model: str
    """As the data names it, usually the repository on Hugging Face."""
    device: str
    """As the data names it."""
    tensor_parallel: int
    workload: str
    requests: Requests
    engine: dict[str, Any]
    """Settings of the study's engine block that the run fixed; what is absent takes the engine's default."""
    quantization: str | None = None
    """Dtype of quantised projections where the model's name does not say it."""
    kv_cache_dtype: str | None = None
    replicas: int = 1
    prefill_replicas: int = 0
    """Of these, the ones that compute prompts for the others, on the same node."""
    is_data_parallel: bool = False
    """Whether the replicas are ranks of one engine, which share the experts of a model that has any."""
    link_bytes_per_s: float = 0.0
    """Bandwidth between the GPUs that the run's own configuration names; 0 where it names none."""
    link_latency_us: float = 0.0
    in_flight_limit: int = 0
    """Most requests the client keeps in flight; 0: open loop."""
    client_timeout_s: float = 0.0
    """When the client gives up; 0: never."""
    measured: dict[Key, float] = field(default_factory=dict)
    """Seconds; rates in 1/s."""
    peers: dict[str, dict[Key, float]] = field(default_factory=dict)
    """Absolute percentage errors of other simulators on this very run, by simulator."""
    fold: str = ""
    """Runs of one fold are the same measurement (in two folders) or cannot be told apart; left out together."""
    is_overloaded: bool = False
    """The client gave up on a good part of the requests: throughput means something, latencies do not."""
    calibration: str | None = None
    """Frozen coefficients other than the scoreboard's default."""
    contradiction: str = ""
    """Why the measurement cannot be right by its own figures; such a run is scored apart and never fitted to."""
    draw: Callable[[int], Requests] | None = None
    """Draws other requests of the same workload by seed; None where the requests themselves were recorded."""
    has_operators: bool = False
    """Whether the data's authors measured this GPU's operators too, which then stand in for coefficients."""

    @property
    def group(self) -> tuple[str, str, int, str]:
        """Configuration: errors are averaged over its runs first, so that repeated runs do not count twice."""
        return self.model, self.device, self.tensor_parallel, self.workload
