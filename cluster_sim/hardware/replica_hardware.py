"""The hardware of one replica: model, device, parallelism and the engine's settings, from which step times follow."""

import math
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import Final

from cluster_sim.errors import InputError
from cluster_sim.hardware.device import Device, Interconnect, Network
from cluster_sim.hardware.engine_settings import EngineSettings
from cluster_sim.hardware.layers.mixer import Part
from cluster_sim.hardware.model import Model
from cluster_sim.hardware.node_topology import GroupLink, NodeTopology
from cluster_sim.hardware.precision import DTYPES, weight_bytes

ALL_TO_ALL_ENGINES: Final = ("trtllm", "sglang")
"""Engines that exchange tokens between many ranks by all-to-all."""
SPREAD: Final = "_spread"
"""Ends the format of experts of which GPUs hold whole ones, in the names of their figures."""


@dataclass(frozen=True, slots=True)
class ExpertSharding:
    """Division of the routed experts of a stage over data-parallel ranks."""

    ranks: int = 1
    """Data-parallel ranks that share them."""
    imbalance_ratio: float = 1.0
    """Work of the busiest GPU's experts over the mean; more than 1 only where GPUs hold whole experts."""
    groups: int = 1
    """GPUs over which whole experts are spread; 1: each GPU holds a slice of every expert."""

    def activated_ratio(self, model: Model, routed_tokens: int) -> float:
        """Return the expected share of a GPU's experts that ``routed_tokens`` tokens of all ranks activate."""
        return 1.0 - (1.0 - model.num_experts_per_tok / model.experts) ** routed_tokens

    def busiest_activated_ratio(self, model: Model, routed_tokens: int) -> float:
        """Return the same of the GPU with the most of them, for which all others wait.

        Tokens choose evenly and by themselves, so that a GPU's experts are activated or not with one probability each:
        of several sums of such choices the greatest lies some standard deviations above the mean.
        """
        share = self.activated_ratio(model, routed_tokens)
        if self.groups == 1:
            return share
        spread = math.sqrt(share * (1.0 - share) * self.groups / model.experts)
        return min(1.0, share + _greatest_of(self.groups) * spread)

    def busiest_share(self, model: Model, routed_tokens: int) -> float:
        """Return the choices of experts that the busiest GPU has to compute over those of the mean GPU."""
        if self.groups == 1:
            return 1.0
        choices = routed_tokens * model.num_experts_per_tok / self.groups
        return min(float(self.groups), 1.0 + _greatest_of(self.groups) / math.sqrt(choices))

    def exchanged_bytes(self, model: Model, routed_tokens: int, kernels: str = "") -> float:
        """Return the bytes that a GPU receives per layer with experts: of ``routed_tokens`` tokens, those of the other
        ranks are gathered and their results scattered back (vLLM's ``allgather_reducescatter``).

        TensorRT-LLM and SGLang (DeepEP) send a token only to the GPUs that hold its experts, once they are more than
        the experts that it chooses.
        """
        others = (self.ranks - 1) / self.ranks * routed_tokens
        if self.is_all_to_all(model, kernels):
            others *= 1.0 - (1.0 - 1.0 / self.ranks) ** model.num_experts_per_tok
        return 2.0 * others * model.hidden_size * weight_bytes(model.activation_dtype)

    def is_all_to_all(self, model: Model, kernels: str) -> bool:
        """Return whether tokens go to the GPUs of their experts only, with the kernels of an engine."""
        is_wide = self.groups > 1 and self.ranks > model.num_experts_per_tok
        return is_wide and kernels in ALL_TO_ALL_ENGINES


@cache
def _greatest_of(number: int) -> float:
    """Return the mean of the greatest of so many standard normal draws (Blom 1958)."""
    return NormalDist().inv_cdf((number - 0.375) / (number + 0.25)) if number > 1 else 0.0


EXPERT_FORMATS: Final = {"bf16": "bf16", "fp16": "bf16", "fp8": "fp8", "fp4": "nvfp4", "int4": "int4"}
NVFP4_BITS: Final = 4.5
"""Bits of a weight with its scale; MXFP4 has fewer."""
ONE_RANK: Final = ExpertSharding()
"""No data parallelism."""


@dataclass(frozen=True, slots=True)
class ReplicaHardware:
    """Model, device, parallelism and engine settings of one replica.

    Raises InputError for degrees of parallelism that do not divide the model.
    """

    model: Model
    device: Device
    engine: EngineSettings
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    experts: ExpertSharding = ONE_RANK
    topology: NodeTopology | None = None
    """Links of its GPUs; None has those of the device, as step times were measured."""

    def __post_init__(self) -> None:
        """Check the degrees of parallelism."""
        check_parallelism(self.model, self.tensor_parallel, self.pipeline_parallel)

    def weight_bytes(self, part: Part) -> float:
        """Return the bytes of a stored weight of a part: by the engine's quantisation, or the model's own."""
        if self.engine.weight_dtype and part != "head":
            return weight_bytes(DTYPES[self.engine.weight_dtype])
        return self.model.part_precision(part).bits / 8

    @property
    def projection_dtype(self) -> str:
        """Type of the projections' products: by the engine's quantisation, or the model's own."""
        return DTYPES[self.engine.weight_dtype] if self.engine.weight_dtype else self.model.projection_dtype

    @property
    def expert_dtype(self) -> str:
        """Type of the routed experts' products."""
        return DTYPES[self.engine.weight_dtype] if self.engine.weight_dtype else self.model.expert_dtype

    @property
    def expert_format(self) -> str:
        """How routed experts are stored, as their kernels were measured: bf16, fp8, nvfp4, int4, mxfp4_fp8, or "".

        Experts in fp4 by the model's own files are MXFP4, whose activations have 16 or 8 bits as the server's flags
        say: its kernels have no figures of their own, but for TensorRT-LLM's on Blackwell, which take 8 bits: those
        with 16 read gpt-oss' experts at a fifth of the bandwidth of B200, 1.18 ms a layer instead of 0.27.
        """
        if not self.model.is_moe:
            return ""
        stored = self.model.part_precision("experts")
        dtype, is_own = stored.dtype, "experts" in self.model.precision or bool(self.model.expert_weight_dtype)
        if self.engine.weight_dtype:
            dtype, is_own = DTYPES[self.engine.weight_dtype], False
        if dtype == "fp4" and is_own and stored.bits < NVFP4_BITS:
            is_short = self.engine.kernels == "trtllm" and self.device.architecture == "blackwell"
            stored_as = "mxfp4_fp8" if is_short else ""
        else:
            stored_as = EXPERT_FORMATS.get(dtype, "")
        return f"{stored_as}{SPREAD}" if stored_as and self.experts.groups > 1 else stored_as

    @property
    def tensor_link(self) -> Interconnect | Network | GroupLink:
        """Link between the GPUs of one stage."""
        if self.topology is not None:
            return self.topology.group_link(range(self.tensor_parallel))
        return self._link(self.tensor_parallel)

    @property
    def all_reduce_extra_us(self) -> float:
        """What an all-reduce of a stage takes longer than the engine's own, where that does not run."""
        link = self.tensor_link
        if not isinstance(link, GroupLink) or link.is_custom:
            return 0.0
        return max(0.0, link.latency_us - self.device.interconnect.latency_us)

    @property
    def rank_link(self) -> Interconnect | Network | GroupLink:
        """Link between data-parallel ranks."""
        if self.topology is not None:
            return self.topology.group_link(range(self.gpus))
        return self._link(self.gpus)

    @property
    def stage_links(self) -> list[Interconnect | Network]:
        """Links from each stage to the next, and from the last one to the first."""
        return [self._stage_link(stage) for stage in range(self.pipeline_parallel)]

    def _stage_link(self, stage: int) -> Interconnect | Network:
        if self.topology is None:
            return self._link(self.gpus)
        first, following = stage * self.tensor_parallel, (stage + 1) % self.pipeline_parallel * self.tensor_parallel
        links = [self.topology.between(first + rank, following + rank) for rank in range(self.tensor_parallel)]
        return min(links, key=lambda link: link.bandwidth_bytes_per_s)

    @property
    def gpus(self) -> int:
        """GPUs of the replica."""
        return self.tensor_parallel * self.pipeline_parallel * self.experts.ranks

    def _link(self, gpus: int) -> Interconnect | Network:
        """Return the link that so many GPUs have: the node's own, or the network beyond a node."""
        return self.device.interconnect if gpus <= self.device.gpus_per_node else self.device.network


def check_parallelism(model: Model, tensor_parallel: int, pipeline_parallel: int) -> None:
    """Raise InputError when the tensor degree does not divide the heads, or stages are more than layers."""
    if tensor_parallel < 1 or pipeline_parallel < 1:
        raise InputError("tensor_parallel and pipeline_parallel must be at least 1")
    if model.num_attention_heads % tensor_parallel:
        raise InputError(
            f"tensor_parallel {tensor_parallel} does not divide the {model.num_attention_heads} attention heads of "
            f"{model.name}; possible: {_divisors(model.num_attention_heads, 64)}"
        )
    kv = model.num_key_value_heads
    if not model.is_latent_attention and kv % tensor_parallel and tensor_parallel % kv:
        raise InputError(
            f"tensor_parallel {tensor_parallel} and the {kv} key/value heads of {model.name} do not divide each other"
        )
    heads = model.gated_delta_net.key_heads if model.gated_delta_net else model.mamba.heads if model.mamba else 0
    if heads % tensor_parallel:
        raise InputError(
            f"tensor_parallel {tensor_parallel} does not divide the {heads} heads of the layers of {model.name} that "
            f"keep a state; possible: {_divisors(heads, 64)}"
        )
    if pipeline_parallel > model.num_hidden_layers:
        raise InputError(
            f"pipeline_parallel {pipeline_parallel}: {model.name} has {model.num_hidden_layers} layers, and every "
            "stage needs one"
        )


def _divisors(number: int, limit: int) -> str:
    return ", ".join(str(divisor) for divisor in range(1, min(number, limit) + 1) if number % divisor == 0)
