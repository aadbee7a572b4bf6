"""The ``run`` block: how the simulation is executed.

Nothing here changes a row but ``end_s`` and ``changes``; ``warmup`` and ``measure`` say which of them the summary
covers, and ``detail`` whether there are rows at all.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from cluster_sim.config.schema.measurement import Phase
from cluster_sim.options import LONGEST_RUN_S, ConfigModel

LEAST_SERIES_INTERVAL_S = 1e-3
"""Shorter than a step of any engine; a typing error below it would fill the disk."""


RESULT_KEYS = frozenset({"end_s", "warmup", "measure", "changes", "detail"})
"""Options of the block that change a result; all others are left out of the configuration hash."""


Port = Annotated[int, Field(ge=1024, le=65535)]


class Change(ConfigModel):
    """Keys of the study that get other values during the run."""

    at_s: float = Field(ge=0, le=LONGEST_RUN_S, description="Simulated time of the change.")
    set: dict[str, Any] = Field(
        min_length=1,
        description="New values by dotted keys: router.split, router.policy and options of the routing policy, "
        "fleet.pools.N.replicas, and a pool's engine, parallelism or device (a rolling upgrade).",
    )


class Run(ConfigModel):
    """Executor, placement, end and output."""

    detail: Literal["high", "estimate"] = Field(
        "high",
        description="Whether every request and step is simulated, or means alone are estimated: quick, without "
        "latencies of single requests, percentiles or times to the first token.",
    )
    executor: Literal["auto", "inline", "ray"] = Field(
        "auto", description="What runs the simulation: one process, Ray actors, or whichever is faster."
    )
    kernel: Literal["auto", "python", "compiled"] = Field(
        "auto",
        description="What the replicas are made of: the sources, their compiled form, or that where it is there and "
        "fits; equal bytes.",
    )
    replicas_per_actor: Annotated[int, Field(ge=1, le=100_000)] | Literal["auto"] = Field(
        "auto", description="Replicas that share a Ray actor; auto is one each while actors fit the cluster's CPUs."
    )
    actors: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="Number of Ray actors to spread the replicas over; overrides replicas_per_actor.",
    )
    placement_seed: int | None = Field(
        None, ge=0, le=(1 << 63) - 1, description="Shuffles the replicas over the actors; null keeps their order."
    )
    stages: Literal["fused", "actors"] = Field(
        "fused", description="Whether pipeline stages run inside their replica or as a chain of actors."
    )
    macro_steps: bool = Field(
        True, description="Whether decode iterations of an unchanged batch are computed together; equal bytes, faster."
    )
    series_interval_s: float = Field(
        1.0,
        ge=0,
        le=LONGEST_RUN_S,
        description="Simulated time between two rows per replica in series.parquet, at least 0.001; 0 writes none.",
    )
    end_s: float | None = Field(
        None,
        gt=0,
        le=LONGEST_RUN_S,
        description="Simulated time at which the run ends; null serves every request to its end.",
    )
    changes: tuple[Change, ...] = Field((), description="Changes of the study at given simulated times.")
    warmup: Phase | None = Field(
        None,
        description="First part of the run, which the summary leaves out; null is auto (MSER-5) for synthetic "
        "workloads of one rate and closed-loop ones, of a fixed count without end_s, and none for all others.",
    )
    measure: Phase | None = Field(
        None,
        description="The part after the warm-up that the summary covers; auto ends with the last arrival, null is auto "
        "where the warm-up is, and none, to the end, elsewhere.",
    )
    event_trace: bool = Field(
        False,
        description="Whether every event is written to event_trace.json in Vidur's vocabulary; steps are simulated "
        "singly, and kept in memory until the end.",
    )
    stall_limit_s: float = Field(
        3600.0,
        gt=0,
        le=LONGEST_RUN_S,
        description="Simulated time without a token at a replica that has requests, or in which requests only wait at "
        "the router, after which a run is given up.",
    )
    snapshot_interval_s: float = Field(
        30.0,
        ge=0,
        le=LONGEST_RUN_S,
        description="Wall time between two snapshots of the run, from which `run --resume` goes on; longer where they "
        "would take more than a fortieth of it, 0 takes none.",
    )
    port_range: tuple[Port, Port] = Field(
        (20000, 29999), description="First and last TCP port that the actors of a run on several nodes may listen on."
    )

    @field_validator("series_interval_s")
    @classmethod
    def _check_series_interval(cls, value: float) -> float:
        if 0 < value < LEAST_SERIES_INTERVAL_S:
            raise ValueError(f"must be 0, or at least {LEAST_SERIES_INTERVAL_S:g}; got {value:g}")
        return value

    @field_validator("port_range")
    @classmethod
    def _check_port_range(cls, value: tuple[int, int]) -> tuple[int, int]:
        first, last = value
        if first > last:
            raise ValueError("the first port must not be above the second")
        return value
