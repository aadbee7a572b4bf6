"""The ``engine`` block of a pool: options that every engine has, and the registry of engines.

Each engine has a class of options beside its scheduler.  An option of another engine is refused if it would switch
something on that this engine has not, and left out if it is off or only tunes such a thing: a study may change
``engine.kind`` alone, or sweep over kinds with one block.  In a study with a sweep what would be refused is kept until
the sweep's values are known: a plan of the study itself refuses it (``check``).
"""

import json
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, NamedTuple, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, ValidationInfo, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

from cluster_sim.errors import InputError
from cluster_sim.hardware.device import Device
from cluster_sim.hardware.engine_settings import EngineSettings, default_settings
from cluster_sim.hardware.kv_groups import KvGroups
from cluster_sim.hardware.model import Model
from cluster_sim.options import HAS_SWEEP, MOST_ITEMS, NOTES, ConfigModel, listed
from cluster_sim.registry import Registry
from cluster_sim.serving.ordering import Ordering, Policy

if TYPE_CHECKING:
    from cluster_sim.serving.schedulers.base import Scheduler

DEFAULT_KIND: Final = "vllm_v1"

ENGINES: Final["Registry[type[Scheduler]]"] = Registry(
    "engine", "cluster_sim.serving.schedulers", "cluster_sim.engines", default=DEFAULT_KIND, chooser="pool"
)

BlockSize = Annotated[int, Field(ge=1, le=1_000_000, description="Tokens in one KV block.")]
WatermarkRatio = Annotated[
    float, Field(ge=0, lt=1, description="Share of all blocks that admissions must leave free while something runs.")
]
ChunkedPrefill = Annotated[bool, Field(description="Whether a prompt may be computed over several steps.")]
PrefixCaching = Annotated[
    bool, Field(description="Whether what is computed is reused by equal prefixes, as the engine does by default.")
]
HostLoadTime = Annotated[
    float | None,
    Field(
        ge=0,
        le=1e9,
        description="Time to load one block from host memory; null is what the device's link to the host takes.",
    ),
]


class EngineOptions(ConfigModel):
    """Options that every engine has.  Null means: as the engine's version and the device pin it."""

    # Keys that are none of the fields are judged by _judge_foreign_options; what is left over is refused as elsewhere.
    model_config = ConfigDict(extra="allow", json_schema_extra={"additionalProperties": False})

    switches: ClassVar[frozenset[str]] = frozenset()
    """Own options that switch something on, so that an engine without it refuses them unless they are off."""
    versions: ClassVar[tuple[str, str] | None] = None
    """First and last version that is modelled; None where versions make no difference."""
    block_sizes: ClassVar[frozenset[int]] = frozenset()
    """Tokens of a block that the engine offers; empty if any."""
    refuses_positions: ClassVar[bool] = False
    """Whether the engine does not start with a context beyond the model's positions."""
    refuses_small_cache: ClassVar[bool] = False
    """Whether the engine does not start if one request of the longest context does not fit its KV cache."""
    kernels: ClassVar[str] = ""
    """Engine whose kernels it runs, as operator timings name it (vllm, sglang, trtllm); "" if that is not known."""
    keeps_windows: ClassVar[bool] = False
    """Whether the KV cache gives back what lies outside an attention window."""
    keeps_states: ClassVar[bool] = False
    """Whether layers with a state of constant size are modelled."""

    kind: str = Field(description="The serving engine that is simulated.")
    version: str = Field(
        "0.15", pattern=r"^\d+(\.\d+)+$", description="Engine version; it pins the defaults that changed over time."
    )
    policy: Policy = "fcfs"
    ordering: Ordering = Field(Ordering(), description="Figures behind the policy.")
    max_num_seqs: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="Most requests that run at once; null is pinned by the engine or the device's memory.",
    )
    max_model_len: int | None = Field(
        None,
        ge=1,
        le=MOST_ITEMS,
        description="Longest prompt plus output in tokens; null is the model's own context.",
    )
    block_size: BlockSize = 16
    gpu_memory_utilization: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of device memory that the engine takes; null is pinned by the version: 0.92 from vLLM 0.21 "
        "on, else 0.9.",
    )
    num_kv_blocks: int | None = Field(
        None,
        ge=1,
        le=MOST_ITEMS,
        description="KV blocks of one replica, of which vLLM v1 keeps one for itself; null computes them from the "
        "memory plan.",
    )
    kv_cache_dtype: Literal["auto", "bf16", "fp8"] = Field(
        "auto", description="Type of the KV cache's entries; auto is the model's."
    )
    quantization: Literal["fp8", "int8", "int4", "fp4"] | None = Field(
        None, description="Type of the projections' weights; null is the model's own."
    )

    @model_validator(mode="after")
    def _judge_foreign_options(self, info: ValidationInfo) -> Self:
        """Drop options of other engines that mean nothing here; refuse every other key that is no field."""
        extra = self.__pydantic_extra__ or {}
        if not extra:
            return self
        context = info.context or {}
        faults: list[InitErrorDetails] = []
        for name, value in list(extra.items()):
            option = _Foreign.of(name)
            fault = option.fault(value)
            if fault is not None:
                faults.append(fault)
            elif option.is_idle(value):
                if not option.is_off(value) and context.get(NOTES) is not None:
                    context[NOTES].append(f"{option.belongs}; this pool is {self.kind}, which leaves it out")
                del extra[name]
                self.__pydantic_fields_set__.discard(name)
            elif not context.get(HAS_SWEEP):
                faults.append(InitErrorDetails(type="extra_forbidden", loc=(name,), input=value))
        if faults:
            raise ValidationError.from_exception_data(type(self).__name__, faults)
        return self

    # -------------------------------------------------------------------------- features, off unless an engine has them

    @property
    def pinned_memory_utilization(self) -> float:
        """Share of device memory that this version takes unless it is told another."""
        return 0.9

    @property
    def token_budget(self) -> int | None:
        """Most tokens of a step, once resolved; None without such a limit."""
        return None

    @property
    def has_vidur_faults(self) -> bool:
        """Whether Vidur's known faults are reproduced."""
        return False

    @property
    def caches_prefixes(self) -> bool:
        """Whether prompts are looked up in a cache."""
        return False

    @property
    def chunks_prompts(self) -> bool:
        """Whether a prompt beyond the token budget can run."""
        return True

    @property
    def fills_batches(self) -> bool:
        """Whether the engine waits, without a time-out, for requests that may never come."""
        return False

    @property
    def plans_ahead(self) -> bool:
        """Whether the next step is planned while one runs."""
        return False

    @property
    def draft_tokens(self) -> int:
        """Drafts that a decode verifies beside its own token."""
        return 0

    @property
    def prefill_interval(self) -> int:
        """Joint steps of data-parallel ranks from one that computes prompts to the next."""
        return 1

    @property
    def needs_host_load_time(self) -> bool:
        """Whether ``host_load_block_us`` is left to the device."""
        return False

    # --------------------------------------------------------------------------------------------------- before a run

    def pinned_settings(self, device: Device) -> EngineSettings:
        """Return the engine's own slots and token budget on ``device``, for what a study leaves open."""
        return default_settings(device)

    def context_tokens(self, model: Model) -> int:
        """Return the longest prompt plus output that the engine is asked to serve."""
        return self.max_model_len or model.max_position_embeddings

    def resolved(self, device: Device, model: Model) -> Self:
        """Return the options with every null replaced by what the engine itself would choose on ``device``."""
        pinned = self.pinned_settings(device)
        chosen = {
            "max_num_seqs": self.max_num_seqs or pinned.max_num_seqs,
            "gpu_memory_utilization": self.gpu_memory_utilization or self.pinned_memory_utilization,
        }
        return self.model_copy(update=chosen)

    def hardware_settings(self, device: Device) -> EngineSettings:
        """Return what memory and step times depend on; null takes what the engine itself chooses on ``device``."""
        pinned = self.pinned_settings(device)
        return EngineSettings(
            max_num_seqs=self.max_num_seqs or pinned.max_num_seqs,
            max_num_batched_tokens=pinned.max_num_batched_tokens,
            block_size=self.block_size,
            gpu_memory_utilization=self.gpu_memory_utilization or self.pinned_memory_utilization,
            weight_dtype=self.quantization,
            kv_cache_dtype=None if self.kv_cache_dtype == "auto" else self.kv_cache_dtype,
            version=self.version,
            keeps_windows=self.keeps_windows,
            kind=self.kind,
            kernels=self.kernels,
        )

    def check(self) -> None:
        """Raise InputError for resolved options that contradict each other, or that another engine should have."""
        for name in self.__pydantic_extra__ or {}:
            raise InputError(f"engine.{name}: {_Foreign.of(name).belongs}; this pool is {self.kind}")

    def kv_groups(self, model: Model, tensor_parallel: int = 1) -> KvGroups | None:
        """Return the groups that layers with windows or states form; None if every layer keeps the whole context."""
        return None


class _Foreign(NamedTuple):
    """A key that is no option of an engine."""

    name: str
    owners: list[str]
    """The engines that have it; none if it is unknown altogether."""
    fields: list[FieldInfo]
    """Its declaration in each of them."""
    is_switch: bool
    """Whether it switches something on in one of them."""

    @classmethod
    def of(cls, name: str) -> Self:
        """Look the key up."""
        owners = ENGINES.owners(name)
        options = [options for owner in owners if issubclass(options := ENGINES.get(owner).options, EngineOptions)]
        is_switch = any(name in options_class.switches for options_class in options)
        return cls(name, owners, [options_class.model_fields[name] for options_class in options], is_switch)

    @property
    def belongs(self) -> str:
        """The engines that have the option, for messages."""
        return f"{self.name} belongs to {listed(self.owners)}"

    def fault(self, value: Any) -> InitErrorDetails | None:
        """Return what is wrong with the value in every engine that has the option; None if one of them takes it."""
        fault = InitErrorDetails(type="extra_forbidden", loc=(self.name,), input=value)
        for field in self.fields:
            try:
                kind: Any = Annotated[field.annotation, field]
                TypeAdapter(kind).validate_json(json.dumps(value, default=ConfigModel.model_dump), strict=True)
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                known = PydanticCustomError("foreign_value", "{text}", {"text": str(first["msg"])})
                fault = InitErrorDetails(type=known, loc=(self.name, *first["loc"]), input=first["input"])
            else:
                return None
        return fault

    def is_off(self, value: Any) -> bool:
        """Whether an engine that has the option would do nothing special with this value."""
        if value is None or value is False or value == 0:
            return True
        # What an engine has on by default is still on.
        is_on = self.is_switch and value is True
        return not is_on and any(value == field.default for field in self.fields)

    def is_idle(self, value: Any) -> bool:
        """Whether an engine without the option may leave it out."""
        return self.is_off(value) or not self.is_switch


if TYPE_CHECKING:
    EngineBlock = EngineOptions
else:
    EngineBlock: Final = ENGINES.annotation()


def engine_options(kind: str = DEFAULT_KIND, **options: Any) -> EngineOptions:
    """Return the options of the engine ``kind``; InputError names the known ones."""
    chosen = ENGINES.get(kind).options.model_validate({"kind": kind, **options})
    assert isinstance(chosen, EngineOptions)
    return chosen
