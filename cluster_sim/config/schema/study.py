"""The root of a study file."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from cluster_sim.config.schema.fleet import Fleet
from cluster_sim.config.schema.plan import PlanBlock
from cluster_sim.config.schema.run import Run
from cluster_sim.config.schema.sweep import Sweep
from cluster_sim.document import Document
from cluster_sim.hardware.predictors.kinds.auto import AutoOptions
from cluster_sim.hardware.predictors.predictor_interface import PredictorBlock
from cluster_sim.metrics.objectives import Slo
from cluster_sim.options import ConfigModel
from cluster_sim.routing.faults.fault_interface import FaultBlock
from cluster_sim.routing.flow_control.admission_options import AdmissionOptions
from cluster_sim.routing.policies.weighted import WeightedOptions
from cluster_sim.routing.policy_interface import RouterConfig, default_router
from cluster_sim.routing.scaling.rolling_upgrade import UpgradeOptions
from cluster_sim.routing.scaling.scaler_interface import AutoscalerConfig
from cluster_sim.suggestion import suggestion
from cluster_sim.workload.kind_interface import WorkloadConfig


class Study(ConfigModel):
    """One study: its workload, the fleet that serves it, and how it is run."""

    name: str = Field(
        "study",
        max_length=100,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="Name of the study; it names the run directory.",
    )
    seed: int = Field(42, ge=0, lt=1 << 63, description="Seed of every random draw.")
    workload: WorkloadConfig = Field(description="Where requests come from.")
    fleet: Fleet = Field(description="What serves them.")
    router: RouterConfig = Field(default_factory=default_router, description="How a request finds a replica.")
    admission: AdmissionOptions = Field(
        AdmissionOptions(), description="Which requests wait at the router, and which it turns away."
    )
    autoscaler: AutoscalerConfig | None = Field(
        None, description="What decides how many replicas each pool has during the run; null keeps their numbers."
    )
    upgrades: tuple[UpgradeOptions, ...] = Field((), description="Rolling upgrades from one pool to another.")
    faults: tuple[FaultBlock, ...] = Field(
        (), max_length=100_000, description="What befalls replicas, links and the router, at given or drawn times."
    )
    predictor: PredictorBlock = Field(AutoOptions(), description="Where step times come from.")
    slo: Slo = Field(Slo(), description="Limits that the results are held against.")
    run: Run = Field(Run(), description="How the simulation is executed.")
    sweep: Sweep | None = Field(None, description="Variants of this study for the sweep command.")
    plan: PlanBlock | None = Field(None, description="Fleets that the plan command may propose for this load.")

    @model_validator(mode="after")
    def _weights_name_pools(self) -> Self:
        router = self.router
        if isinstance(router, WeightedOptions) and not router.label:
            pools = [pool.name for pool in self.fleet.pools]
            for name in router.weights:
                if name not in pools:
                    raise ValueError(
                        f"router.weights.{name}: the fleet has no pool {name!r}{suggestion(name, pools)}; it has "
                        f"{', '.join(pools)}; to weigh the values of a label, name it in router.label"
                    )
        return self

    @staticmethod
    def load(path: str | Path, changes: Mapping[str, Any] | None = None) -> "Study":
        """Read a study file and check it, with ``changes`` by dotted keys such as ``fleet.pools.0.replicas``.

        Raises InputError that says what is wrong, in which line, and what would be right.
        """
        from cluster_sim.config.loading.load import check_study

        place = Path(path)
        return check_study(_changed(Document.read(place), changes or {}), place.resolve().parent)

    @staticmethod
    def from_dict(data: Mapping[str, Any], base_directory: str | Path = ".") -> "Study":
        """Return the study that nested mappings describe as a file would; raises InputError for wrong ones.

        Files that it names are looked up from ``base_directory``, then from the working directory.
        """
        from cluster_sim.config.loading.load import check_study

        return check_study(Document("study", _plain(data), {}), Path(base_directory).resolve())

    def with_changes(self, changes: Mapping[str, Any]) -> "Study":
        """Return the study with other values by dotted keys; raises InputError for wrong keys or values."""
        from cluster_sim.config.loading.load import check_study

        return check_study(_changed(self.document(), changes), Path.cwd())

    def document(self) -> Document:
        """Return what the study says, without the defaults that it leaves open; its files by their whole paths."""
        return Document("study", self.model_dump(mode="json", exclude_unset=True), {})

    def to_yaml(self) -> str:
        """Return the text of a study file with every default, which gives an equal study."""
        from cluster_sim.config.loading.canonical import resolved_yaml

        return resolved_yaml(self)

    def _repr_html_(self) -> str:
        """Return what the study says, for a notebook."""
        from cluster_sim.config.loading.canonical import study_text

        return f"<pre>{escape(study_text(self))}</pre>"


def _changed(document: Document, changes: Mapping[str, Any]) -> Document:
    """Return a document with other values by dotted keys."""
    from cluster_sim.config.loading.overrides import set_value

    for key, value in changes.items():
        set_value(document, key, _plain(value), key)
    return document


def _plain(value: Any) -> Any:
    """Return a value as a file would hold it: mappings, lists, text and numbers of Python's own."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, Path):
        return str(value)
    return value.item() if hasattr(value, "item") else value
