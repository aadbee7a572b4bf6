"""An operator profile of easy numbers."""

from cluster_sim.hardware.predictors.operator_profile import Measurement, OperatorProfile, ProfileInfo, make_profile

INFO = ProfileInfo("h100-sxm", "llama-3-8b", 1, engine="vllm", versions={"vllm": "0.15"})


def small_profile() -> OperatorProfile:
    """A profile whose times are easy sums: 10 us + 1 us a token in a layer, 5 us a step, 100 us a sequence."""
    rows = [Measurement("layer.gemm", 10.0 + n, tokens=n) for n in (1, 100, 1000)]
    rows += [Measurement("layer.norm", 1.0, tokens=n, count=2) for n in (1, 1000)]
    rows += [Measurement("step.embedding", 5.0, tokens=n) for n in (1, 1000)]
    rows += [Measurement("sequence.head", 100.0 * n, sequences=n) for n in (1, 10)]
    rows += [
        Measurement("attention", 2.0 * b + 0.01 * b * kv, decodes=b, decode_kv_tokens=kv)
        for b in (1, 10)
        for kv in (0, 1000, 2000)
    ]
    rows += [
        Measurement("attention", 3.0 + 0.1 * c + 0.001 * kv, prefill_tokens=c, prefill_kv_tokens=kv)
        for c in (1, 100, 1000)
        for kv in (0, 1000)
    ]
    return make_profile(INFO, rows)
