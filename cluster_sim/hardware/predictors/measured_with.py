"""Configurations that a source of step times was measured with, and how a replica's differs from them.

Two devices are the same if the figures agree that step times follow from, whatever their files are called; versions of
an engine if major and minor number agree; 16-bit types cost the same and count as one.
"""

from typing import Self

from pydantic import Field

from cluster_sim.hardware.device import known_as
from cluster_sim.hardware.library_model import LibraryModel
from cluster_sim.hardware.model import Model
from cluster_sim.hardware.predictors.operator_profile import ProfileInfo
from cluster_sim.hardware.replica_hardware import ReplicaHardware


class MeasuredWith(LibraryModel):
    """One configuration: an engine, a device, a model and a degree."""

    engine: str = Field(description="Kind of engine, as studies name it")
    version: str = Field(description="Version of the engine")
    device: str = Field(description="Name in conf/devices")
    model: str = Field(description="Name in conf/models")
    architecture: str = Field(description="Class of the model's architecture, as `architecture_class` has it")
    precision: str = Field(description="Types of the weights, as `precision` has them")
    tensor_parallel: int = Field(ge=1, description="GPUs that share a layer")

    @classmethod
    def of(cls, hardware: ReplicaHardware) -> Self:
        """Return the configuration of a replica."""
        return cls(
            engine=hardware.engine.kind,
            version=minor_version(hardware.engine.version or ""),
            device=hardware.device.name,
            model=hardware.model.name,
            architecture=architecture_class(hardware.model),
            precision=precision(hardware),
            tensor_parallel=hardware.tensor_parallel,
        )


class Kinship:
    """A replica's configuration held against those that were measured, one part after the other."""

    def __init__(self, hardware: ReplicaHardware, measured: tuple[MeasuredWith, ...]) -> None:
        self.own = own = MeasuredWith.of(hardware)
        self.device = known_as(hardware.device, dict.fromkeys(entry.device for entry in measured))
        """The measured device with the replica's figures; "" if there is none."""
        engines = [entry for entry in measured if entry.engine == own.engine]
        versions = [entry for entry in engines if minor_version(entry.version) == own.version]
        near = [entry for entry in versions or engines if self.device in ("", entry.device)]
        alike = [entry for entry in near if entry.architecture == own.architecture]
        exact = [entry for entry in alike if entry.precision == own.precision]
        self.has_engine = bool(versions)
        self.has_architecture = bool(alike)
        self.has_precision = bool(exact)
        self.has_degree = any(entry.tensor_parallel == own.tensor_parallel for entry in exact)
        self.has_model = any(
            (entry.model, entry.tensor_parallel) == (own.model, own.tensor_parallel) for entry in exact
        )
        self.has_kind = bool(engines)

    @property
    def is_covered(self) -> bool:
        """Whether engine, version, device, architecture, precision and degree were measured together."""
        return self.has_engine and bool(self.device) and self.has_degree

    @property
    def unmeasured(self) -> list[str]:
        """The parts of the configuration that were not measured, in words."""
        own = self.own
        device = [] if self.device else [f"device {own.device}"]
        if not self.has_kind:
            return [own.engine, *device]
        parts = device if self.has_engine else [f"{own.engine} {own.version}", *device]
        if not self.has_architecture:
            return [*parts, f"architecture {own.architecture}"]
        if not self.has_precision:
            return [*parts, f"precision {own.precision}"]
        return parts if self.has_degree else [*parts, f"TP {own.tensor_parallel}"]


def profile_mismatch(info: ProfileInfo, hardware: ReplicaHardware) -> str:
    """Return what an operator profile was measured with that a replica has not, as the end of a sentence; "" if nothing
    differs.
    """
    engine = hardware.engine
    for what, found, wanted in (
        ("engine", info.engine, engine.kernels or engine.kind),
        ("engine version", minor_version(info.engine_version), minor_version(engine.version or "")),
        ("model", info.model, hardware.model.name),
        ("TP", str(info.tensor_parallel), str(hardware.tensor_parallel)),
        ("precision", _plain(info.dtype), precision(hardware)),
    ):
        if found != wanted:
            return f"was measured with {what} {found or 'unknown'}, not {wanted}"
    if not known_as(hardware.device, [info.device]):
        return f"was measured on {info.device}, whose figures are not those of {hardware.device.name}"
    return ""


def minor_version(version: str) -> str:
    """Return the first two numbers of a version: "0.15.1" is "0.15"."""
    return ".".join(version.lstrip("v").split(".")[:2])


def architecture_class(model: Model) -> str:
    """Return what step times of a model are alike by: experts or none, and its kinds of attention."""
    parts = ["experts" if model.is_moe else "dense"]
    if model.is_latent_attention:
        parts.append("latent attention" if model.indexer is None else "sparse latent attention")
    if 0 < model.windowed_layers < model.num_hidden_layers:
        parts.append("windows in some layers")
    elif model.windowed_layers:
        parts.append("windows")
    if model.state_layers:
        parts.append("states in some layers")
    return ", ".join(parts)


def precision(hardware: ReplicaHardware) -> str:
    """Return the type of the projections' weights as they are stored, and that of the experts' where it is another."""
    if hardware.engine.weight_dtype:
        return _plain(hardware.engine.weight_dtype)
    model = hardware.model
    projections, experts = (_plain(model.part_precision(part).dtype) for part in ("attention", "experts"))
    if experts == projections or not model.is_moe:
        dense = _plain(model.part_precision("mlp").dtype)
        return projections if model.is_moe or dense == projections else f"{projections}, networks {dense}"
    return f"{projections}, experts {experts}"


def _plain(dtype: str) -> str:
    return "bf16" if dtype == "fp16" else dtype
