"""Methods of quantisation: the ``quantization_config`` of a checkpoint, or its ``hf_quant_config.json``, as rules."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from cluster_sim.errors import InputError
from cluster_sim.hardware.model_config.config_file import shown
from cluster_sim.hardware.model_config.module_names import ModulePatterns
from cluster_sim.hardware.model_config.quantization import Quantization, Rule
from cluster_sim.hardware.model_config.weight_format import (
    FP8_BLOCK_BITS,
    MXFP4_BITS,
    MXFP8_BITS,
    NVFP4_BITS,
    WeightFormat,
    with_scales,
)
from cluster_sim.suggestion import suggestion

KEY: Final = "quantization_config"
Block = Mapping[str, Any]


class QuantizationReader:
    """Reads the quantisation of one file; errors name the file and the key."""

    def __init__(self, block: Block, place: Callable[[str], str]) -> None:
        """``place`` gives file, line and key for messages about a key of the block."""
        self._block = block
        self._place = place

    def read(self) -> Quantization:
        """Return the rules; InputError for a method that is not understood."""
        method = str(self._block.get("quant_method") or ("modelopt" if "quant_algo" in self._block else ""))
        reader = _METHODS.get(method.replace("_", "-").removesuffix("-marlin"))
        if reader is None:
            known = sorted(_METHODS)
            raise self._fault(
                "quant_method", f"{method!r} is not understood{suggestion(method, known)}; known: {known}"
            )
        return reader(self)

    # -------------------------------------------------------------------------------------------------------- methods

    def fp8(self) -> Quantization:
        """FP8 with a scale per block, per channel or per matrix."""
        block = self._block.get("weight_block_size")
        bits = FP8_BLOCK_BITS if block is not None else 8.0
        if block is not None and block != [128, 128]:
            if not (
                isinstance(block, list)
                and len(block) == 2
                and all(isinstance(side, int) and side > 0 for side in block)
            ):
                raise self._fault("weight_block_size", f"must be two whole numbers, not {shown(block)}")
            bits = with_scales(8, block[0] * block[1], 32)
        return self._with_exceptions(WeightFormat("fp8", bits, "fp8"))

    def mxfp4(self) -> Quantization:
        """MXFP4 of the routed experts (gpt-oss)."""
        found = self._with_exceptions(WeightFormat("fp4", MXFP4_BITS, "fp4"))
        return Quantization(found.rules, default=found.default, only_experts=True)

    def integer_groups(self) -> Quantization:
        """GPTQ, AWQ and AutoRound: integers of a few bits with a scale and mostly a zero point for each group."""
        bits = self._whole("bits", "w_bit")
        group = self._whole("group_size", "q_group_size", default=128)
        has_zeros = "gptq" in str(self._block.get("quant_method")) or self._block.get("zero_point", True) is True
        stored = with_scales(bits, group, 16 + (bits if has_zeros else 0))
        return self._with_exceptions(WeightFormat(self._integer_type(bits), stored))

    def bitsandbytes(self) -> Quantization:
        """Four bits in blocks of 64, or eight with a scale per row."""
        if self._block.get("load_in_4bit") or self._block.get("_load_in_4bit"):
            is_double = self._block.get("bnb_4bit_use_double_quant") is True
            bits = 4 + (8 / 64 + 32 / (64 * 256) if is_double else 32 / 64)
            return self._with_exceptions(WeightFormat("int4", bits))
        if self._block.get("load_in_8bit") or self._block.get("_load_in_8bit"):
            return self._with_exceptions(WeightFormat("int8", 8.0, "int8"))
        raise self._fault("load_in_4bit", "neither load_in_4bit nor load_in_8bit is true")

    def compressed_tensors(self) -> Quantization:
        """Groups of modules, each with a format."""
        groups = self._block.get("config_groups")
        if not isinstance(groups, dict) or not groups:
            raise self._fault("config_groups", "missing, the groups of converted modules")
        rules = [Rule(self._exceptions(), None)]
        default = None
        for group in groups.values():
            if not isinstance(group, dict) or not isinstance(group.get("weights"), dict):
                raise self._fault("config_groups", "every group needs weights")
            chosen = self._tensor_format(group)
            targets = group.get("targets") or ["Linear"]
            if not isinstance(targets, list) or not all(isinstance(target, str) for target in targets):
                raise self._fault("config_groups", "the targets of a group must be a list of names")
            names = [target for target in targets if "." in target or target.startswith("re:")]
            if names:
                rules.append(Rule(ModulePatterns(names), chosen))
            if len(names) < len(targets):
                default = chosen
        return Quantization(tuple(rules), default=default, kv_cache_dtype=self._kv_cache_dtype())

    def modelopt(self) -> Quantization:
        """NVIDIA's Model Optimizer: one algorithm, or one for each module."""
        algorithm = str(self._block.get("quant_algo"))
        exceptions = Rule(self._exceptions(), None)
        if algorithm == "MIXED_PRECISION":
            layers = self._block.get("quantized_layers")
            if not isinstance(layers, dict) or not all(isinstance(entry, dict) for entry in layers.values()):
                raise self._fault("quantized_layers", "missing, the algorithm of every module")
            named = {
                name: self._algorithm(str(entry.get("quant_algo")), entry, "quantized_layers")
                for name, entry in layers.items()
            }
            return Quantization((exceptions,), named, kv_cache_dtype=self._kv_cache_dtype())
        default = self._algorithm(algorithm, self._block, "quant_algo")
        return Quantization((exceptions,), default=default, kv_cache_dtype=self._kv_cache_dtype())

    # ---------------------------------------------------------------------------------------------------------- parts

    def _algorithm(self, name: str, block: Block, key: str) -> WeightFormat:
        """Return the format of one of Model Optimizer's algorithms."""
        group = block.get("group_size", 128)
        formats = {
            "FP8": WeightFormat("fp8", 8.0, "fp8"),
            "FP8_PER_CHANNEL_PER_TOKEN": WeightFormat("fp8", 8.0, "fp8"),
            "FP8_PB_WO": WeightFormat("fp8", FP8_BLOCK_BITS, "fp8"),
            "MXFP8": WeightFormat("fp8", MXFP8_BITS, "fp8"),
            "NVFP4": WeightFormat("fp4", NVFP4_BITS, "fp4"),
            "NVFP4_AWQ": WeightFormat("fp4", NVFP4_BITS, "fp4"),
            "W4A16_NVFP4": WeightFormat("fp4", NVFP4_BITS),
            "W4A16_AWQ": WeightFormat("int4", with_scales(4, group, 16)),
            "INT4_AWQ": WeightFormat("int4", with_scales(4, group, 16)),
            "W4A8_AWQ": WeightFormat("int4", with_scales(4, group, 16), "fp8"),
            "W8A16": WeightFormat("int8", 8.0),
            "INT8_SQ": WeightFormat("int8", 8.0, "int8"),
        }
        if name not in formats:
            raise self._fault(
                key, f"{name!r} is not understood{suggestion(name, list(formats))}; known: {list(formats)}"
            )
        return formats[name]

    def _tensor_format(self, group: Block) -> WeightFormat:
        """Return the format of one group of compressed-tensors."""
        weights, inputs = group["weights"], group.get("input_activations")
        bits, kind, size = weights.get("num_bits"), weights.get("type", "int"), weights.get("group_size") or 0
        if bits not in {4, 8} or kind not in {"int", "float"}:
            raise self._fault("num_bits", f"weights of type {kind} with {shown(bits)} bits are not understood")
        dtype = {("int", 4): "int4", ("int", 8): "int8", ("float", 4): "fp4", ("float", 8): "fp8"}[kind, bits]
        scale = 16.0 + (0 if weights.get("symmetric", True) else bits)
        if kind == "float" and size:
            scale = 8.0
        stored = with_scales(bits, size, scale)
        if weights.get("strategy") == "block" or weights.get("block_structure"):
            stored = FP8_BLOCK_BITS if bits == 8 else stored
        arithmetic = None
        if isinstance(inputs, dict):
            arithmetic = dtype if inputs.get("num_bits") == bits else "fp8" if inputs.get("type") == "float" else "int8"
        return WeightFormat(dtype, stored, arithmetic)

    def _exceptions(self) -> ModulePatterns:
        """Return the patterns of modules that are not converted."""
        names: list[str] = []
        for key in ("ignore", "exclude_modules", "modules_to_not_convert", "ignored_layers", "llm_int8_skip_modules"):
            value = self._block.get(key)
            if value is None:
                continue
            if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
                raise self._fault(key, f"must be a list of module names, not {shown(value)}")
            names += value
        return ModulePatterns(names)

    def _with_exceptions(self, default: WeightFormat) -> Quantization:
        return Quantization((Rule(self._exceptions(), None),), default=default)

    def _kv_cache_dtype(self) -> str | None:
        """Return fp8 where the checkpoint has scales of such a cache."""
        scheme = self._block.get("kv_cache_scheme") or self._block.get("kv_cache_quant_algo")
        if scheme is None or str(scheme).lower() == "none":
            return None
        is_fp8 = scheme.get("num_bits") == 8 if isinstance(scheme, dict) else str(scheme).upper() == "FP8"
        if not is_fp8:
            key = "kv_cache_scheme" if self._block.get("kv_cache_scheme") else "kv_cache_quant_algo"
            raise self._fault(key, f"a KV cache in {shown(scheme)} is not understood; known: FP8")
        return "fp8"

    def _whole(self, *names: str, default: int | None = None) -> int:
        for name in names:
            value = self._block.get(name)
            if value is not None:
                if isinstance(value, bool) or not isinstance(value, int):
                    raise self._fault(name, f"must be a whole number, not {shown(value)}")
                return value
        if default is None:
            raise self._fault(names[0], "missing, a whole number is needed")
        return default

    def _integer_type(self, bits: int) -> str:
        if bits not in {2, 3, 4, 8}:
            raise self._fault("bits", f"weights of {bits} bits are not understood; known: 2, 3, 4, 8")
        return "int8" if bits == 8 else "int4"

    def _fault(self, key: str, problem: str) -> InputError:
        return InputError(f"{self._place(key)}: {problem}")


_METHODS: Final[Mapping[str, Callable[[QuantizationReader], Quantization]]] = {
    "fp8": QuantizationReader.fp8,
    "fbgemm-fp8": QuantizationReader.fp8,
    "mxfp4": QuantizationReader.mxfp4,
    "gptq": QuantizationReader.integer_groups,
    "awq": QuantizationReader.integer_groups,
    "auto-round": QuantizationReader.integer_groups,
    "bitsandbytes": QuantizationReader.bitsandbytes,
    "compressed-tensors": QuantizationReader.compressed_tensors,
    "modelopt": QuantizationReader.modelopt,
    "modelopt-fp4": QuantizationReader.modelopt,
}
"""By ``quant_method``."""
