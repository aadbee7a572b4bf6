"""Names of models: two files are two models; requests that name none go to the one that a study says, or nowhere."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cluster_sim.config.loading.load import load_study
from cluster_sim.errors import InputError
from cluster_sim.simulation.model_names import default_model, distinct_names
from cluster_sim.simulation.plan import make_plan
from cluster_sim.simulation.run import RunResult
from tests.small_run import run_small

TWO = "fleet.pools=[{name: a, model: qwen3-8b, device: h100-sxm}, {name: b, model: qwen3-14b, device: h100-sxm}]"


def test_files_are_told_apart() -> None:
    """A file names its model, a config.json its folder; equal names get folders in front until they differ."""
    assert distinct_names(["/x/small.json", "/x/large.json", "qwen3-8b"]) == {
        "/x/small.json": "small",
        "/x/large.json": "large",
        "qwen3-8b": "",
    }
    assert distinct_names(["/x/a/m/config.json", "/x/b/m/config.json"]) == {
        "/x/a/m/config.json": "a/m",
        "/x/b/m/config.json": "b/m",
    }
    assert distinct_names(["/x/a/c/m.json", "/x/b/c/m.json"]) == {"/x/a/c/m.json": "a/c/m", "/x/b/c/m.json": "b/c/m"}
    assert distinct_names(["qwen3-8b", "/x/qwen3-8b.yaml"]) == {"qwen3-8b": "", "/x/qwen3-8b.yaml": "x/qwen3-8b"}
    assert distinct_names(["/x/m.json", "/x/m.json"]) == {"/x/m.json": "m"}


def test_two_files_of_a_folder_are_two_models(shared: Path) -> None:
    """The models of the two files have their names and figures; the larger one has twice the layers."""
    plan = make_plan(load_study(shared / "cases/model_names/study.yaml", ()))
    assert plan.models == ["small", "large"]
    small, large = (pool.hardware.model.num_hidden_layers for pool in plan.pools)
    assert (small, large) == (36, 72)


def test_default_model() -> None:
    """The only model serves what names none; of several the one that the workload says, by name or repository."""
    assert default_model(None, ["a"]) == "a"
    assert default_model(None, ["a", "b"]) == ""
    assert default_model("b", ["a", "b"]) == "b"
    assert default_model("Qwen/Qwen3-8B", ["a", "qwen3-8b"]) == "qwen3-8b"
    with pytest.raises(InputError, match=r"workload\.model: 'smal' is not served; did you mean 'small'"):
        default_model("smal", ["small", "b"])


def models_of(result: RunResult) -> set[str]:
    return set(pq.read_table(result.directory / "requests.parquet").column("model").to_pylist())


def test_requests_that_name_no_model(tmp_path: Path) -> None:
    """Where two models are served such requests are refused; with ``workload.model`` they go to its replicas.  Rows
    name the model that was asked for.
    """
    named = "{kind: synthetic, count: 2, arrivals: {kind: poisson, request_rate: 9}, traits: {model: qwen3-8b}, %s}"
    nameless = "{kind: synthetic, count: 3, arrivals: {kind: poisson, request_rate: 9}, %s}"
    lengths = "lengths: {prompt: {kind: fixed, value: 9}, output: {kind: fixed, value: 9}}"
    refused = run_small(tmp_path, TWO, f"workload={{kind: mix, parts: [{named % lengths}, {nameless % lengths}]}}")
    assert refused.summary["requests"]["refused"] == refused.summary["reasons"]["no_model"] == 3
    assert models_of(refused) == {"", "qwen3-8b"}
    served = run_small(tmp_path, TWO, "workload.count=5", "workload.model=qwen3-14b")
    first, second = (pool["requests"]["finished"] for pool in served.summary["pools"])
    assert (first, second) == (0, served.summary["requests"]["total"])
    assert models_of(served) == {"qwen3-14b"}
