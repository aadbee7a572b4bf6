"""Layouts and fleets: what the planner chooses between, and the study of each."""

import copy
import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from cluster_sim.config.loading.load import check_study
from cluster_sim.config.schema.study import Study
from cluster_sim.shown_values import counted

PREFILL_POOL: Final = "prefill"
DECODE_POOL: Final = "decode"
KEY_DIGITS: Final = 12
"""Hexadecimal digits of a path's hash in the key of a fleet."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything about a fleet but its size; None leaves an option as the study has it."""

    device: str
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    engine: str | None = None
    max_model_len: int | None = None
    max_num_batched_tokens: int | None = None
    max_num_seqs: int | None = None
    policy: str | None = None
    is_disaggregated: bool = False
    """Whether prefill and decode have pools of their own."""
    data_parallel: int = 1
    """Ranks of a replica, as the study's pool has them."""

    @property
    def gpus(self) -> int:
        """GPUs of one replica."""
        return self.tensor_parallel * self.pipeline_parallel * self.data_parallel

    @property
    def device_name(self) -> str:
        """The device's name; of a file its stem."""
        return Path(self.device).stem if self._is_file else self.device

    @property
    def device_key(self) -> str:
        """What tells the device from all others: its name, and of a file a hash of its path besides."""
        if not self._is_file:
            return self.device
        return f"{self.device_name}@{hashlib.sha256(self.device.encode()).hexdigest()[:KEY_DIGITS]}"

    @property
    def _is_file(self) -> bool:
        return self.device.endswith((".yaml", ".yml", ".json"))

    @property
    def label(self) -> str:
        """The layout in words, for example ``4 x h100-sxm (TP 4)``."""
        degrees = [f"{name} {degree}" for name, degree in self._degrees() if degree > 1]
        joined = f" ({', '.join(degrees)})" if degrees else ""
        return f"{self.gpus} x {self.device_name}{joined}{self.options_label}"

    @property
    def options_label(self) -> str:
        """The options that differ from the study's, in words."""
        parts = [f"{self.engine}"] if self.engine else []
        names = ("max_model_len", "max_num_batched_tokens", "max_num_seqs", "policy")
        parts += [f"{name}={value}" for name in names if (value := getattr(self, name)) is not None]
        return "".join(f", {part}" for part in parts)

    def _degrees(self) -> list[tuple[str, int]]:
        return [("TP", self.tensor_parallel), ("PP", self.pipeline_parallel), ("DP", self.data_parallel)]

    @property
    def plain(self) -> "Layout":
        """The layout without what only tunes it."""
        return replace(self, max_num_batched_tokens=None, max_num_seqs=None, policy=None, is_disaggregated=False)


class Bounds(NamedTuple):
    """Replicas between which an autoscaler moves."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Fleet:
    """A layout and the number of its replicas: one number, or those that prefill and those that decode."""

    layout: Layout
    replicas: tuple[int, ...]
    bounds: Bounds | None = None
    """If the study's autoscaler acts on the fleet; ``replicas`` are then those of the start."""

    @property
    def size(self) -> int:
        """Replicas of all pools; with an autoscaler, the least."""
        return sum(self.replicas) if self.bounds is None else self.bounds.least

    @property
    def gpus(self) -> int:
        """GPUs of the fleet; with an autoscaler, the most."""
        return (self.size if self.bounds is None else self.bounds.most) * self.layout.gpus

    @property
    def label(self) -> str:
        """The fleet in words."""
        if self.bounds is not None:
            return f"{self.bounds.least} to {counted(self.bounds.most, 'replica')} of {self.layout.label}, autoscaled"
        if not self.layout.is_disaggregated:
            return f"{counted(self.size, 'replica')} of {self.layout.label}"
        prefill, decode = self.replicas
        return f"{prefill} prefill + {decode} decode replicas of {self.layout.label}"

    @property
    def key(self) -> str:
        """What tells the fleet from all others that a plan may try, and names its runs."""
        layout = self.layout
        parts = [layout.device_key, f"tp{layout.tensor_parallel}", f"pp{layout.pipeline_parallel}"]
        options = (
            ("dp", layout.data_parallel if layout.data_parallel > 1 else None),
            ("", layout.engine),
            ("len", layout.max_model_len),
            ("tokens", layout.max_num_batched_tokens),
            ("seqs", layout.max_num_seqs),
            ("", layout.policy),
        )
        parts += [f"{name}{value}" for name, value in options if value is not None]
        parts += [] if self.bounds is None else [f"{self.bounds.least}to{self.bounds.most}"]
        return "-".join([*parts, "x".join(map(str, self.replicas))])

    def to_dict(self) -> dict[str, Any]:
        """Return the choices as plain data."""
        least, most = self.bounds or (None, None)
        sizes = {"replicas": list(self.replicas), "min_replicas": least, "max_replicas": most}
        return {**asdict(self.layout), **sizes, "gpus": self.gpus}


def fleet_study(base: Study, fleet: Fleet) -> Study:
    """Return the study that a fleet serves: ``base`` with its pool changed, without the plan and the sweep.

    The autoscaler of ``base`` is kept only for a fleet with bounds, which it gets.

    Raises InputError if the choice makes no valid study.
    """
    document = base.document()
    data = document.data
    for block in ("plan", "sweep", *(["autoscaler"] if fleet.bounds is None else [])):
        data.pop(block, None)
    if fleet.bounds is not None:
        data["autoscaler"] |= {"min_replicas": fleet.bounds.least, "max_replicas": fleet.bounds.most}
    data["fleet"]["pools"] = _pools(data["fleet"]["pools"][0], fleet)
    if fleet.layout.policy is not None:
        data["router"] = {**_shared_router_options(data.get("router") or {}), "policy": fleet.layout.policy}
    return check_study(document, Path.cwd())


def _pools(template: dict[str, Any], fleet: Fleet) -> list[dict[str, Any]]:
    layout = fleet.layout
    pool = copy.deepcopy(template)
    pool |= {
        "device": layout.device,
        "tensor_parallel": layout.tensor_parallel,
        "pipeline_parallel": layout.pipeline_parallel,
    }
    engine = pool.setdefault("engine", {})
    if layout.engine is not None:
        engine["kind"] = layout.engine
    for name in ("max_model_len", "max_num_batched_tokens", "max_num_seqs"):
        value = getattr(layout, name)
        if value is not None:
            engine[name] = value
    if not layout.is_disaggregated:
        return [pool | {"replicas": fleet.replicas[0]}]
    prefill, decode = fleet.replicas
    return [
        pool | {"name": PREFILL_POOL, "role": "prefill", "replicas": prefill},
        copy.deepcopy(pool) | {"name": DECODE_POOL, "role": "decode", "replicas": decode},
    ]


def _shared_router_options(router: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a router block that every policy has."""
    from cluster_sim.routing.policy_interface import default_router

    return {
        key: value for key, value in router.items() if key in type(default_router()).model_fields and key != "policy"
    }
