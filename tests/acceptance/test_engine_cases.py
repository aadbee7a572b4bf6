"""Small studies of a user's first questions to routing and engines, each with the right answer."""

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from cluster_sim.cli.app import app
from cluster_sim.config.loading.load import load_study
from cluster_sim.errors import InputError
from cluster_sim.simulation.plan import make_plan
from cluster_sim.simulation.run import RunResult, run_study
from cluster_sim.simulation.run_options import RunOptions


def run(shared: Path, out: Path, case: str, *overrides: str) -> RunResult:
    study = shared / "cases" / case
    if not study.is_file():
        pytest.skip(f"needs {study}, which is not there")
    return run_study(load_study(study, overrides), RunOptions(executor="inline", out=out))


def test_long_requests_go_to_the_pool_that_serves_them(
    shared: Path, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompts of 20,000 tokens end in the pool of 32,768 instead of being refused for that of 8,192."""
    monkeypatch.chdir(checkout)
    result = run(shared, tmp_path / "run", "mixed_pools/study.yaml")
    rows = pq.read_table(result.directory / "requests.parquet").to_pylist()
    assert {row["status"] for row in rows} == {"finished"}
    assert {row["pool"] for row in rows if row["prompt_tokens"] == 20_000} == {"big"}


def test_rows_stand_in_the_stated_order(
    shared: Path, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests by their ids, series by replica and then by time."""
    monkeypatch.chdir(checkout)
    result = run(shared, tmp_path / "run", "roworder/rr.yaml")
    ids = pq.read_table(result.directory / "requests.parquet").column("request_id").to_pylist()
    assert ids == list(range(3000))
    series = pq.read_table(result.directory / "series.parquet", columns=["replica", "time_s"])
    places = list(zip(series.column("replica").to_pylist(), series.column("time_s").to_pylist(), strict=True))
    assert places == sorted(places)


@pytest.mark.parametrize("policy", ["least_outstanding", "least_loaded", "least_waiting", "random"])
def test_ties_are_spread(shared: Path, tmp_path: Path, policy: str) -> None:
    """Of 300 requests each of 8 replicas, nearly all idle, gets 37.5, +- 3.1 standard deviations of 5.7.  A prompt of
    4,200 finds its prefix of 4,000 where its pair of replica and prefix, one of 160, was drawn before: of 300 draws
    136 +- 4.4 are new, so 52 % of the tokens hit, +- 3.5 deviations of 1.4 %.
    """
    result = run(shared, tmp_path / "run", "ties_prefix/study.yaml", f"router.policy={policy}")
    rows = pq.read_table(result.directory / "requests.parquet")
    counts = [entry["counts"] for entry in rows.column("replica").value_counts().to_pylist()]
    assert len(counts) == 8
    assert 20 <= min(counts) <= max(counts) <= 55
    hits = sum(rows.column("cached_tokens").to_pylist()) / sum(rows.column("prompt_tokens").to_pylist())
    assert hits == pytest.approx(0.522, abs=0.05)


def test_a_hybrid_caches_in_its_attention_layers(shared: Path) -> None:
    """12 of 48 layers cache 2 x 2 heads x 256 numbers of 2 bytes: 24,576 a token.  The 47.4 GiB that each of two GPUs
    has left hold 12,288 of them: 4.14 million tokens, where 48 layers would leave room for a quarter.
    """
    study = shared / "cases" / "hybrid" / "qwen3-next.yaml"
    if not study.is_file():
        pytest.skip(f"needs {study}, which is not there")
    result = CliRunner().invoke(app, ["validate", str(study)], catch_exceptions=False)
    assert "KV cache 24,576 B a token in bf16, in 12 of 48 layers" in result.output
    found = re.search(r"KV blocks of \d+ tokens: (\d+) tokens", result.output)
    assert found is not None
    assert int(found[1]) == pytest.approx(47.41 * 2**30 / 12_288, rel=0.005)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("kv_smaller_than_context", "does not hold one request of 131072 tokens, only of 12032; set max_model_len"),
        ("tokens_below_seqs", "engine.max_num_seqs: 128 sequences cannot each get a token from a budget of 64"),
        ("no_chunk", "engine.max_num_batched_tokens: 2048 is below the context of 8192 tokens"),
    ],
)
def test_settings_with_which_vllm_would_not_start(shared: Path, case: str, message: str) -> None:
    """The plan is refused with the key, the reason and what would be right."""
    study = shared / "cases" / "vllm_start" / f"{case}.yaml"
    if not study.is_file():
        pytest.skip(f"needs {study}, which is not there")
    with pytest.raises(InputError, match=message):
        make_plan(load_study(study))
