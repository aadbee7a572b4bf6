"""Imports: every layout becomes the same profile, and wrong rows are refused with their place."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster_sim.errors import InputError
from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.device import load_device
from cluster_sim.hardware.model import load_model
from cluster_sim.hardware.predictors.kinds.table import TablePredictor
from cluster_sim.hardware.predictors.kinds.vidur_tables import VidurTablePredictor
from cluster_sim.hardware.predictors.operator_profile import Measurement, OperatorProfile, ProfileInfo, make_profile
from cluster_sim.hardware.predictors.vidur_files import load_vidur_tables
from cluster_sim.hardware.profiling.import_aiconfigurator import import_aiconfigurator
from cluster_sim.hardware.profiling.import_llmservingsim import import_llmservingsim
from cluster_sim.hardware.profiling.import_vidur import import_vidur
from cluster_sim.hardware.profiling.plausibility import check_profile
from tests.hardware.replicas import hardware


def vidur_profile(shared: Path) -> OperatorProfile:
    """CodeLlama-34B on A100, TP2, from Vidur's raw files."""
    data = shared / "vidur-data"
    network = data / "profiling/network/a100_pairwise_nvlink"
    return import_vidur(
        data / "profiling/compute/a100/codellama/CodeLlama-34b-Instruct-hf/mlp.csv.gz",
        data / "history/e2d00e9/profiling/a100/attention.csv.gz",
        "a100-80gb",
        load_model("codellama-34b"),
        2,
        network / "all_reduce.csv.gz",
        network / "send_recv.csv.gz",
    )


def test_vidur_raw_files_agree_with_its_forest(shared: Path) -> None:
    """Interpolating Vidur's raw files comes within 10 % of what its forests learnt from them."""
    model, device = load_model("codellama-34b"), load_device("a100-80gb")
    profile = vidur_profile(shared)
    check_profile(profile, model, device)
    table = TablePredictor(profile, hardware(model, device, 2))
    forest = VidurTablePredictor(
        load_vidur_tables(shared / "vidur-ref/predictor", "cl34_a100_tp2"), hardware(model, device, 2)
    )
    for shape in (
        BatchShape(1, 374),
        BatchShape(8, 8000),
        BatchShape(64, 64_000),
        BatchShape(0, 0, [(512, 0)], 1),
        BatchShape(0, 0, [(2048, 0)], 1),
        BatchShape(32, 32_000, [(480, 512)], 1),
    ):
        assert table.step_ns(shape) == pytest.approx(forest.step_ns(shape), rel=0.1)


def test_vidur_files_of_another_model_are_refused(shared: Path) -> None:
    """Widths that are not the model's are named with the line."""
    data = shared / "vidur-data"
    with pytest.raises(
        InputError, match=r"mlp\.csv\.gz:2: measured with .*\(64, 8, 8192, 22016\), but llama-2-70b has"
    ):
        import_vidur(
            data / "profiling/compute/a100/codellama/CodeLlama-34b-Instruct-hf/mlp.csv.gz",
            data / "history/e2d00e9/profiling/a100/attention.csv.gz",
            "a100-80gb",
            load_model("llama-2-70b"),
        )


def write_llmservingsim(folder: Path, scale: float = 1.0, dense: str = "") -> Path:
    """A tiny LLMServingSim folder for llama-3-8b whose times are the roofline's, doubled and scaled."""
    target = folder / "bf16" / "tp1"
    target.mkdir(parents=True)
    (folder / "bf16" / "meta.yaml").write_text("hardware: H100-SXM\nvllm_version: 0.19.0\n")
    rows = dense or "".join(f"gemm,{n},{scale * max(260.0, 0.9 * n):.3f}\n" for n in (1, 64, 2048))
    with gzip.open(target / "dense.csv.gz", "wt") as stream:
        stream.write("layer,tokens,time_us\n" + rows)
    (target / "per_sequence.csv").write_text(
        f"layer,sequences,time_us\nlm_head,1,{600 * scale}\nlm_head,256,{700 * scale}\n"
    )
    lines = [f"0,0,{b},{kv},{scale * (8 + b * kv * 0.0024):.4f}" for b in (1, 64) for kv in (16, 16384)]
    lines += [f"{c},{kv},0,0,{scale * (8 + c * (kv + c / 2) * 3.3e-5):.4f}" for c in (16, 2048) for kv in (0, 8192)]
    (target / "attention.csv").write_text(
        "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n" + "\n".join(lines) + "\n"
    )
    return folder / "bf16"


def test_llmservingsim_layout(tmp_path: Path) -> None:
    """A folder of the layout becomes a checked profile with its versions, and predicts."""
    profile = import_llmservingsim(write_llmservingsim(tmp_path), "h100-sxm", "llama-3-8b")
    assert profile.info.versions["vllm_version"] == "0.19.0"
    model, device = load_model("llama-3-8b"), load_device("h100-sxm")
    check_profile(profile, model, device)
    step = TablePredictor(profile, hardware(model, device)).step_ns(BatchShape(1, 16))
    assert step == pytest.approx((32 * (260 + 8.0384) + 600) * 1e3, rel=1e-6)


@pytest.mark.parametrize(("scale", "reason"), [(1e-3, "needs at least"), (1e3, "are the times in microseconds")])
def test_units_off_by_a_thousand_are_refused(tmp_path: Path, scale: float, reason: str) -> None:
    """Times in ms or ns instead of us are caught against the roofline, with the row."""
    profile = import_llmservingsim(write_llmservingsim(tmp_path, scale), "h100-sxm", "llama-3-8b")
    with pytest.raises(InputError, match=rf"row \d+: .*{reason}"):
        check_profile(profile, load_model("llama-3-8b"), load_device("h100-sxm"))


def test_wrong_rows_are_refused(tmp_path: Path) -> None:
    """Missing columns, negative times and duplicate keys are named with file and line."""
    folder = write_llmservingsim(tmp_path)
    dense = folder / "tp1" / "dense.csv.gz"
    for text, message in (
        ("layer,tokens\ngemm,1\n", r"dense\.csv\.gz: lacks the columns time_us"),
        ("layer,tokens,time_us\ngemm,1,-3\n", r"dense\.csv\.gz:2: time_us is -3"),
        ("layer,tokens,time_us\ngemm,1e300,3\n", r"dense\.csv\.gz:2: tokens is 1e300, not a number from 0 to 1e\+15"),
        ("layer,tokens,time_us\ngemm,1,3\ngemm,1,3\n", r"row 3: duplicate key of layer\.gemm"),
    ):
        with gzip.open(dense, "wt") as stream:
            stream.write(text)
        with pytest.raises(InputError, match=message):
            import_llmservingsim(folder, "h100-sxm", "llama-3-8b")


def test_falling_times_are_refused() -> None:
    """A time far below that of less work is refused with both rows."""
    info = ProfileInfo("h100-sxm", "llama-3-8b", 1)
    rows = [Measurement("layer.gemm", us, tokens=n, row=n) for n, us in ((1, 260.0), (64, 300.0), (128, 100.0))]
    rows += [Measurement("attention", 8.0, decodes=1, decode_kv_tokens=16, row=5)]
    rows += [Measurement("attention", 8.0, prefill_tokens=16, row=6)]
    with pytest.raises(
        InputError, match=r"row 128: layer\.gemm takes 100 us at tokens 128, but 300 us at 64 \(row 64\)"
    ):
        check_profile(make_profile(info, rows), load_model("llama-3-8b"), load_device("h100-sxm"))


def write_aiconfigurator(root: Path) -> Path:
    """A tiny set of tables in the package's layout, with times at half the data sheet's rates."""
    device = load_device("h100-sxm")
    bandwidth, peak = device.memory_bandwidth_bytes_per_s / 2, device.peak_flops("bf16") / 2

    def put(name: str, rows: list[dict[str, object]]) -> None:
        for version in ("0.9.0", "0.24.0"):
            path = (
                root / "h100_sxm" / name.split("/", maxsplit=1)[0] / "vllm" / version / f"{name.split('/')[1]}.parquet"
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            factor = 1.0 if version == "0.24.0" else 100.0
            scaled = [{**row, "latency": float(str(row["latency"])) * factor} for row in rows]
            pq.write_table(pa.Table.from_pylist(scaled), path)

    sides = (1024, 4096, 16384, 65536)
    put(
        "gemm/gemm_perf",
        [
            {
                "gemm_dtype": "bfloat16",
                "m": m,
                "n": n,
                "k": k,
                "latency": 1e3 * max((2 * n * k + 2 * m * k + 2 * m * n) / bandwidth, 2 * m * n * k / peak),
            }
            for m in (1, 64, 4096)
            for n in sides
            for k in sides
        ],
    )
    common = {
        "num_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "kv_cache_dtype": "bfloat16",
        "window_size": 0,
    }
    put(
        "attention/generation_attention_perf",
        [
            {**common, "batch_size": b, "isl": 1, "step": s, "latency": 1e3 * 2 * 8 * 128 * 2 * b * (s + 1) / bandwidth}
            for b in (1, 128)
            for s in (15, 8191)
        ],
    )
    put(
        "attention/context_attention_perf",
        [
            {**common, "batch_size": 1, "isl": n, "latency": 1e3 * 4 * 32 * 128 * n * n / 2 / peak}
            for n in (1024, 2048, 8192)
        ],
    )
    put(
        "comm/custom_allreduce_perf",
        [{"num_gpus": 2, "message_size": s, "latency": 0.01, "backend": "vllm_graph"} for s in (128, 1 << 20)],
    )
    return root


def test_aiconfigurator_layout(tmp_path: Path) -> None:
    """From tables at half the data sheet's rates, a model's decode step is twice its roofline (newest version read)."""
    systems = write_aiconfigurator(tmp_path)
    model, device = load_model("llama-3-8b"), load_device("h100-sxm")
    profile = import_aiconfigurator(systems, device, model)
    check_profile(profile, model, device)
    step = TablePredictor(profile, hardware(model, device)).step_ns(BatchShape(1, 8191))
    weights = 2 * (model.total_parameters - model.embedding_parameters) + 8192 * 131072
    ideal = weights / device.memory_bandwidth_bytes_per_s * 1e9
    assert step == pytest.approx(2 * ideal + 32 * 8_000, rel=0.02)
    split = import_aiconfigurator(systems, device, model, 2)
    assert "all_reduce" in split.operators
    with pytest.raises(InputError, match="has no tables for b200; known: h100-sxm"):
        import_aiconfigurator(systems, load_device("b200"), model)
    with pytest.raises(InputError, match="latent attention"):
        import_aiconfigurator(systems, device, load_model("deepseek-v3"))
    with pytest.raises(InputError, match=r"has no moe_perf\.parquet"):
        import_aiconfigurator(systems, device, load_model("mixtral-8x7b"))
