"""Frozen profiles: fitted coefficients with the data and the command they came from, read from ``conf/profiles``."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from cluster_sim.config.errors import InputError
from cluster_sim.config.library import library_file
from cluster_sim.hardware.device import Device
from cluster_sim.hardware.library import load_mapping, validated
from cluster_sim.hardware.physical import Coefficients


class Provenance(BaseModel):
    """Where fitted figures come from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str = Field(description="The measurements the figures were fitted to")
    command: str = Field(description="The command that fitted them")
    date: str = Field(default="", description="When")
    notes: str = Field(default="", description="What a reader should know")
    cross_validation: dict[str, float] = Field(
        default={}, description="Mean absolute errors in percent on data left out, by metric"
    )


class PhysicalProfile(BaseModel):
    """Coefficients of the physical step model for an engine, with overrides by engine version and device."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="The file's name")
    kind: str = Field(default="physical", pattern="^physical$", description="Form of the model")
    engine: str = Field(description="Engine measured, e.g. vllm")
    provenance: Provenance = Field(description="Where the figures come from")
    coefficients: dict[str, float] = Field(description="Fields of Coefficients that hold everywhere")
    architectures: dict[str, dict[str, float]] = Field(
        default={}, description="Overrides by the device's kernel class (hopper, ampere ...)"
    )
    devices: dict[str, dict[str, float]] = Field(default={}, description="Overrides by device name")
    versions: dict[str, dict[str, float]] = Field(
        default={}, description="Overrides by engine version: the greatest that is not above the engine's applies"
    )
    measured_devices: tuple[str, ...] = Field(default=(), description="Devices whose measurements were used")

    def resolve(self, device: Device, engine_version: str | None = None) -> Coefficients:
        """Return the coefficients for a device and an engine version, the more specific override last.

        Raises InputError that names the profile and the wrong or missing coefficients.
        """
        merged = dict(self.coefficients)
        merged.update(self.architectures.get(device.architecture, {}))
        merged.update(self.devices.get(device.name, {}))
        chosen = version_at_most(list(self.versions), engine_version)
        if chosen is not None:
            merged.update(self.versions[chosen])
        unknown = sorted(set(merged) - set(Coefficients.model_fields))
        if unknown:
            known = ", ".join(Coefficients.model_fields)
            raise InputError(f"profile {self.name}: unknown coefficients {', '.join(unknown)}; known: {known}")
        try:
            return Coefficients(**merged)
        except ValueError as error:
            raise InputError(f"profile {self.name}: {error}") from None


def version_key(version: str) -> tuple[int, ...]:
    """Return a version's numbers for comparison: "0.15.1" -> (0, 15, 1); what is not a number ends it."""
    numbers: list[int] = []
    for part in version.lstrip("v").split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def version_at_most(known: list[str], wanted: str | None) -> str | None:
    """Return the greatest known version not above ``wanted`` (the greatest of all for None), else the smallest."""
    if not known:
        return None
    ordered = sorted(known, key=version_key)
    if wanted is None:
        return ordered[-1]
    fitting = [version for version in ordered if version_key(version) <= version_key(wanted)]
    return fitting[-1] if fitting else ordered[0]


def load_physical_profile(name: str) -> PhysicalProfile:
    """Load a profile by its name in ``conf/profiles`` or by path; InputError when unknown or wrong."""
    path = library_file("profiles", name)
    data: dict[str, Any] = load_mapping(path)
    return validated(PhysicalProfile, data, path)
