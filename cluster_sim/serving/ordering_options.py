"""The ``engine.ordering`` block: the figures behind the ordering policies of the waiting queue."""

from typing import Literal

from pydantic import Field

from cluster_sim.options import ConfigModel

Policy = Literal[
    "fcfs", "priority", "priority_aging", "sjf", "predicted_sjf", "edf", "lrs", "st", "lpm", "dfs_weight", "vtc"
]
"""Names of the ordering policies."""


class OrderingSettings(ConfigModel):
    """What the ordering policies weigh and what they know."""

    length_knowledge: Literal["exact", "noisy", "none"] = Field(
        "exact", description="What the scheduler knows of output lengths (predicted_sjf, priority_aging)."
    )
    length_cv: float = Field(0.3, ge=0, description="Coefficient of variation of a noisy length prediction.")
    length_default_tokens: int = Field(256, ge=1, description="Output length assumed where nothing is known.")
    length_seed: int = Field(0, ge=0, description="Seed of noisy length predictions.")
    aging_per_s: float = Field(
        1.0, ge=0, description="Priority levels that a second of waiting is worth (priority_aging)."
    )
    urgency_s: float = Field(
        0.0, ge=0, description="A job of t seconds gains urgency_s / t priority levels (priority_aging)."
    )
    prefill_s_per_token: float = Field(0.001, ge=0, description="Estimated service per prompt token (predicted_sjf).")
    decode_s_per_token: float = Field(0.0005, ge=0, description="Estimated service per output token (predicted_sjf).")
    target_step_s: float = Field(
        0.05,
        gt=0,
        description="Step that a prefill chunk should fill, and in which prefill times are estimated (edf, lrs, st).",
    )
    deadline_multiplier: float = Field(
        1.5, gt=0, description="A deadline's span is this many times the prefill alone (edf, lrs, st)."
    )
    min_deadline_s: float = Field(0.5, ge=0, description="Shortest span of a deadline (edf, lrs, st).")
    long_prompt_tokens: int = Field(
        8192,
        ge=1,
        description="Beyond so many tokens of it a prompt is long: its steps get shorter with its slack, and no step "
        "holds two of them (st).",
    )
    prompt_weight: float = Field(1.0, ge=0, description="Service charged per prompt token (vtc).")
    output_weight: float = Field(2.0, ge=0, description="Service charged per output token (vtc).")
