"""Profile of a load: rates and lengths, from which the need for GPUs is estimated."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.build import NO_REQUESTS, build_columns, reacts
from cluster_sim.workload.columns import Columns, concatenate
from cluster_sim.workload.kind_interface import LoadUnit, kind_of

WINDOW_S: Final = 30.0
"""Length over which a rate is counted, at least; about as long as requests stay in the system."""
MOST_WINDOWS: Final = 200
BUSY_SHARE: Final = 0.05
"""Share of the requests that arrive at the peak rate or above."""


@dataclass(frozen=True, slots=True)
class LoadProfile:
    """What a workload asks for."""

    requests: int
    span_s: float
    rate_per_s: float
    """Mean rate; the highest possible one if requests wait for one another, so that the fleet decides it."""
    peak_rate_per_s: float
    """Rate that so many requests arrive at or above as ``BUSY_SHARE`` says."""
    is_open: bool
    """Whether requests come whatever the fleet does."""
    prompt_tokens: float
    """Mean."""
    output_tokens: float
    """Mean."""
    prompt_tokens_p99: float
    longest_tokens: int
    """Most tokens of one request, prompt and output."""
    unit: LoadUnit = "requests"
    """What the load is counted in."""
    users: int | None = None
    """If users are the unit."""
    sessions: int | None = None
    """If sessions are the unit."""
    sessions_per_s: float | None = None
    """Mean rate at which they start."""

    def once_served(self, residence_s: float) -> "LoadProfile":
        """Return the profile if each request takes so long: users send their next one only after that."""
        if self.users is None:
            return self
        rate = self.users / (self.users / self.rate_per_s + residence_s)
        return replace(self, rate_per_s=rate, peak_rate_per_s=rate)


def load_profile(study: Study) -> LoadProfile:
    """Return the profile of a study's workload; a workload that reacts, as if each request were served at once.

    Raises InputError if a file is wrong, or there are no requests.
    """
    rows = concatenate(list(build_columns(study.workload, study.seed).columns()))
    if not len(rows):
        raise InputError(NO_REQUESTS)
    arrival_s = rows.arrival_ns / NS_PER_S
    span_s = max(float(arrival_s[-1] - arrival_s[0]), 1e-9)
    rate = len(rows) / span_s
    windows = max(1, min(MOST_WINDOWS, int(span_s / WINDOW_S)))
    counts, edges = np.histogram(arrival_s, windows)
    unit = kind_of(study.workload).load_unit
    sessions, sessions_per_s = _sessions(rows) if unit == "sessions" else (None, None)
    of_request = np.repeat(counts, counts) / (edges[1] - edges[0])
    return LoadProfile(
        len(rows),
        span_s,
        rate,
        max(rate, float(np.quantile(of_request, 1 - BUSY_SHARE))),
        not reacts(study.workload),
        float(rows.prompt_tokens.mean()),
        max(1.0, float(rows.output_tokens.mean())),
        float(np.quantile(rows.prompt_tokens, 0.99)),
        int((rows.prompt_tokens + rows.output_tokens).max()),
        unit,
        kind_of(study.workload).users or None,
        sessions,
        sessions_per_s,
    )


def _sessions(rows: Columns) -> tuple[int, float | None]:
    """Return the number of sessions, and how many start in a second."""
    starts: dict[int, int] = {}
    for attributes, arrival_ns in zip(rows.attribute_list(), rows.arrival_ns.tolist(), strict=True):
        starts.setdefault(attributes.session_id, arrival_ns)
    span_s = (max(starts.values()) - min(starts.values())) / NS_PER_S
    return len(starts), (len(starts) / span_s if span_s else None)
