"""Options of the router that every routing policy shares."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError, ValidationInfo, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from cluster_sim.options import LONGEST_RUN_S, MS_PER_DAY, ConfigModel
from cluster_sim.routing.recovery.circuit_breaker import CircuitBreakerOptions
from cluster_sim.routing.recovery.health_checks import HealthOptions
from cluster_sim.routing.recovery.migration_options import MigrationOptions
from cluster_sim.routing.recovery.retry_options import RetryOptions
from cluster_sim.units import NS_PER_MS, NS_PER_S


class Telemetry(ConfigModel):
    """Age of the router's picture of the replicas; the staler, the further the simulation can run ahead."""

    period_ms: float = Field(
        50.0, ge=0, le=MS_PER_DAY, description="Time between two samples; 0 with latency 0 is perfect knowledge."
    )
    latency_ms: float = Field(1.0, ge=0, le=MS_PER_DAY, description="Time from a sample until the router can use it.")

    @model_validator(mode="after")
    def _perfect_knowledge_has_no_age(self) -> Self:
        if self.period_ns == 0 and self.latency_ms > 0:
            raise ValueError(
                "period_ms: 0 is perfect knowledge at every decision, which contradicts "
                f"latency_ms: {self.latency_ms:g}; set latency_ms: 0, or a period"
            )
        return self

    @property
    def period_ns(self) -> int:
        """The time between two samples in ns."""
        return round(self.period_ms * NS_PER_MS)

    @property
    def latency_ns(self) -> int:
        """The time from a sample until the router can use it, in ns."""
        return round(self.latency_ms * NS_PER_MS)


class _PrefillPolicy:
    """The type of a routing policy's block inside another one: told apart when it is read, since no schema can hold
    itself so deeply.
    """

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema of any policy's options, or null."""
        del source, handler
        return core_schema.with_info_plain_validator_function(cls._read)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the JSON Schema: a block as that around it, or null."""
        del schema, handler
        return {"anyOf": [{"type": "object"}, {"type": "null"}], "default": None}

    @staticmethod
    def _read(value: Any, info: ValidationInfo) -> ConfigModel | None:
        from cluster_sim.routing.policy_interface import ROUTING_POLICIES  # Its parts have these options.

        if value is None or isinstance(value, RouterOptions):
            return value
        name = value.get("policy", ROUTING_POLICIES.default) if isinstance(value, dict) else ""
        if not isinstance(name, str) or not name:
            raise ValueError("must be a block with a routing policy, such as {policy: round_robin}, or null")
        if name not in ROUTING_POLICIES.names():
            raise ValueError(f"policy {ROUTING_POLICIES.must_be_known(name)}")
        try:
            return ROUTING_POLICIES.get(name).options.model_validate(value, context=info.context)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


if TYPE_CHECKING:
    PrefillPolicy = ConfigModel | None
else:
    PrefillPolicy = _PrefillPolicy


class RouterOptions(ConfigModel):
    """The router of a study; ``policy`` tells its routing policies apart, each of which may add options."""

    policy: str
    telemetry: Telemetry = Field(Telemetry(), description="Samples of the replicas' state that policies may read.")
    ties: Literal["random", "first"] = Field(
        "random",
        description="Choice among replicas that a policy finds equal: a draw keyed by the request, or the first.",
    )
    replicas: int = Field(
        1,
        ge=1,
        le=1000,
        description="Router replicas, each with counts and indexes of its own; a request's is told by its id.",
    )
    prefill: PrefillPolicy = Field(
        None,
        description="How a prefill replica is chosen where other pools decode, for policies that do not choose both; "
        "null chooses it as the one that decodes.",
    )
    split: dict[str, Annotated[float, Field(ge=0, le=1e9)]] = Field(
        {},
        description="Weights of pools: a request draws its pool among those of its model, and the policy chooses "
        "inside that; empty leaves everything to the policy.",
    )
    retries: RetryOptions | None = Field(None, description="Retries of failed attempts; null: none.")
    health: HealthOptions | None = Field(None, description="Health checks of the replicas; null: none.")
    circuit_breaker: CircuitBreakerOptions | None = Field(
        None, description="Breakers that keep requests from replicas that fail often; null: none."
    )
    migration: MigrationOptions | None = Field(
        None, description="Requests that go on at another replica with their tokens so far; null: none."
    )
    client_timeout_s: float | None = Field(
        None,
        ge=1e-9,
        le=LONGEST_RUN_S,
        description="Time from its arrival after which a client gives a request up; null waits for ever.",
    )

    @property
    def client_timeout_ns(self) -> int:
        """The client's patience in ns; 0 if it waits for ever."""
        return round((self.client_timeout_s or 0) * NS_PER_S)

    @property
    def own_admission(self) -> ConfigModel | None:
        """The ``admission`` block that the policy's own configuration means where the study has none."""
        return None

    @property
    def notices(self) -> Sequence[str]:
        """What the policy's own configuration says in vain, for the end of a run."""
        return ()

    @property
    def reads_step_figures(self) -> bool:
        """Whether the policy estimates latencies from the durations of steps (``Candidate.step_figures``)."""
        return False
