"""Links by name: what a link of a fleet carries by its data sheet, loaded from ``conf/links``."""

from typing import Final, Literal

from pydantic import Field

from cluster_sim.conf_directory import library_file, library_names
from cluster_sim.hardware.library_file import load_mapping, validated
from cluster_sim.hardware.library_model import LibraryModel

WITHIN_NODES: Final = ("nvlink", "xgmi", "pcie")
"""Kinds of links that leave no node."""


class LinkSpec(LibraryModel):
    """A kind of link."""

    name: str = Field(description="Name used in messages; the file's name when left out")
    kind: Literal["nvlink", "xgmi", "pcie", "infiniband", "roce", "ethernet"] = Field(description="Family of the link")
    bandwidth_bytes_per_s: float = Field(
        ge=1e6, le=1e15, description="Bandwidth in one direction: of a GPU's links inside a node, or of one port"
    )
    latency_us: float = Field(ge=0, le=1e6, description="Time until the first byte of a message moves")
    achieved_ratio: float = Field(default=0.8, gt=0, le=1, description="Share of it that bulk transfers reach")
    source: str = Field(default="", description="Where the figures come from")


def load_link(name: str) -> LinkSpec:
    """Load a link by its name in ``conf/links`` or by the path of a YAML file.

    Raises InputError when the name is unknown (the message lists the known ones) or the file is wrong.
    """
    path = library_file("links", name)
    return validated(LinkSpec, {"name": path.stem, **load_mapping(path)}, path)


def link_names() -> list[str]:
    """Return the names of the links in ``conf/links``, sorted."""
    return library_names("links")
