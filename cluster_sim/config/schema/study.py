"""The root of a study file."""

from typing import Self

from pydantic import Field, model_validator

from cluster_sim.config.schema.fleet import Fleet
from cluster_sim.config.schema.run import Run
from cluster_sim.config.schema.sweep import Sweep
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
        "study", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Name of the study; it names the run directory."
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
