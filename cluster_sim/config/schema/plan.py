"""The ``plan`` block: which fleets the plan command may propose, and how it chooses among them."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from cluster_sim.options import LONGEST_RUN_S, MOST_GPUS, MOST_ITEMS, ConfigModel, DeviceName, Tokens
from cluster_sim.routing.policy_interface import ROUTING_POLICIES
from cluster_sim.serving.schedulers.engine_options import ENGINES

Objective = Literal["cost", "energy", "goodput_per_usd", "goodput_per_joule"]

Degree = Annotated[int, Field(ge=1, le=MOST_GPUS)]
Seats = Annotated[int, Field(ge=1, le=MOST_ITEMS)]


class PlanBlock(ConfigModel):
    """Fleets to choose from; null leaves a choice to the planner, and the pool of the study gives everything else."""

    devices: tuple[DeviceName, ...] | None = Field(
        None, min_length=1, description="GPUs to choose from; null is every device of the library."
    )
    tensor_parallel: tuple[Degree, ...] | None = Field(
        None, min_length=1, description="Degrees of tensor parallelism; null is 1, 2, 4 ... up to the GPUs of a node."
    )
    pipeline_parallel: tuple[Degree, ...] | None = Field(
        None, min_length=1, description="Degrees of pipeline parallelism; null is 1 and 2."
    )
    engines: tuple[str, ...] | None = Field(
        None, min_length=1, description="Kinds of engines; null is that of the study's pool."
    )
    max_num_batched_tokens: tuple[Tokens, ...] | None = Field(
        None,
        min_length=1,
        description="Token budgets of a step that are tried on fleets smaller than the best; null is a quarter and "
        "twice the engine's own.",
    )
    max_num_seqs: tuple[Seats, ...] | None = Field(
        None,
        min_length=1,
        description="Limits on running requests that are tried on fleets smaller than the best; null is none.",
    )
    policies: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Routing policies that are tried on fleets smaller than the best; null is least_tokens.",
    )
    disaggregation: bool | None = Field(
        None,
        description="Whether fleets with prefill and decode in pools of their own are tried: null names a cheaper one "
        "beside the answer, true lets it be the answer, false tries none.",
    )
    max_gpus: int | None = Field(
        None, ge=1, le=MOST_ITEMS, description="Most GPUs of a fleet; null does not limit them."
    )
    max_usd_per_hour: float | None = Field(
        None, gt=0, le=1e12, description="Highest price of a fleet, in USD an hour; null does not limit it."
    )
    objective: Objective = Field(
        "cost",
        description="What is best among the fleets that meet the limits: the least USD an hour, the least energy, or "
        "the most requests within the limits per USD or per joule.",
    )
    replications: int = Field(
        5, ge=2, le=100, description="Runs behind a verdict: the study itself and its further replications."
    )
    time_limit_s: float = Field(
        240.0, gt=0, le=LONGEST_RUN_S, description="Wall time after which no further run is started."
    )

    @field_validator("engines")
    @classmethod
    def _check_engines(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for name in names or ():
            if name not in ENGINES.names():
                raise ValueError(ENGINES.unknown(name))
        return names

    @field_validator("policies")
    @classmethod
    def _check_policies(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for name in names or ():
            if name not in ROUTING_POLICIES.names():
                raise ValueError(ROUTING_POLICIES.unknown(name))
        return names
