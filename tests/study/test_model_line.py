"""The line about a model that ``validate`` prints."""

from cluster_sim.study.model_line import model_line
from tests.hardware.replicas import hardware


def test_lines_of_models() -> None:
    """Parameters, precision by part, cache of a token, state of a sequence, and what is left out."""
    assert model_line(hardware("llama-3-8b")) == (
        "llama-3-8b: 8.03 B parameters, 8.03 B active; weights bf16, 14.96 GiB; KV cache 131,072 B a token in bf16"
    )
    assert model_line(hardware("qwen3-next-80b-a3b", "h200", 2)) == (
        "qwen3-next-80b-a3b: 79.67 B parameters, 3.87 B active; weights bf16, 148.40 GiB; KV cache 24,576 B a token in "
        "bf16, in 12 of 48 layers; states 77,266,944 B a sequence; left out: layers that predict further tokens"
    )
    kimi = model_line(hardware("kimi-k2.5", "b200", 8, kv_cache_dtype="fp8"))
    assert "bf16 in attention and mlp and shared experts and head, int4 (4.5 bits) in experts" in kimi
    assert "KV cache 35,136 B a token in fp8 (70,272 in bf16); left out: vision tower" in kimi
