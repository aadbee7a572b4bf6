"""Cold start of a replica, part by part, and the time that it takes.

Sources of the defaults: image pulls reach 0.1-1 GB/s and take nothing where the image is on the node; a process of vLLM
or SGLang imports for 10-20 s; weights load with 1-10 GB/s from local or parallel storage; compiling and capturing CUDA
graphs take 20-90 s (5-15 s from a compile cache); clouds hand out a GPU node in 60-300 s.
"""

from pydantic import Field

from cluster_sim.options import ConfigModel
from cluster_sim.units import NS_PER_S

LONGEST_START_S = 86_400.0


class ColdStart(ConfigModel):
    """Parts of the time from the decision to have a replica until it serves; they follow each other."""

    node_s: float = Field(
        0.0, ge=0, le=LONGEST_START_S, description="Wait for a node: 0 where one is warm, 60 to 300 from a cloud."
    )
    image_gb: float = Field(
        0.0, ge=0, le=10_000, description="Size of the container image to pull; 0 where the node has it (10 is usual)."
    )
    image_gb_per_s: float = Field(0.5, gt=0, le=1_000, description="Rate of that pull.")
    process_s: float = Field(15.0, ge=0, le=LONGEST_START_S, description="Start of the process and its imports.")
    weights_gb_per_s: float = Field(
        2.0, gt=0, le=10_000, description="Rate at which one replica reads its model's weights."
    )
    compile_s: float = Field(
        40.0, ge=0, le=LONGEST_START_S, description="Compilation and capture of CUDA graphs; 5 to 15 from a cache."
    )
    warmup_s: float = Field(2.0, ge=0, le=LONGEST_START_S, description="First requests that warm the engine up.")

    def parts_s(self, weight_bytes: int, *, has_node: bool = False) -> dict[str, float]:
        """Return the length of each part in seconds; a restart on a node that is there needs neither node nor image."""
        return {
            "node": 0.0 if has_node else self.node_s,
            "image": 0.0 if has_node else self.image_gb / self.image_gb_per_s,
            "process": self.process_s,
            "weights": weight_bytes / (self.weights_gb_per_s * 1e9),
            "compile": self.compile_s,
            "warmup": self.warmup_s,
        }

    def total_ns(self, weight_bytes: int, *, has_node: bool = False) -> int:
        """Return the whole time in ns."""
        return round(sum(self.parts_s(weight_bytes, has_node=has_node).values()) * NS_PER_S)
