"""Plans of several models that share a fleet."""

import json
from pathlib import Path
from typing import Any

import pytest

from cluster_sim.config.loading.canonical import config_hash
from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.study.planning.several_models import SharedPlan, has_several_models, run_shared_plan
from cluster_sim.study.replications import Replication
from tests.study.planning.plan_parts import MadeUpPool, small_study
from tests.study.planning.test_planner import make_up

SMALL, LARGE = "llama-3-8b", "qwen3-14b"
LENGTHS = {"prompt": {"kind": "fixed", "value": 800}, "output": {"kind": "fixed", "value": 60}}
STRICT = {"match": {"model": LARGE}, "ttft_p99_s": 0.05}


def part(model: str, rate: float, count: int) -> dict[str, Any]:
    """Return requests of one model."""
    arrivals = {"kind": "poisson", "request_rate": rate}
    traits = {"model": model}
    return {"kind": "synthetic", "count": count, "arrivals": arrivals, "lengths": LENGTHS, "traits": traits}


def shared_study(**changes: Any) -> Study:
    """Return a study of two models, a quarter of whose requests are for the larger."""
    pools = [{"name": name, "model": model, "device": "h100-sxm"} for name, model in (("a", SMALL), ("b", LARGE))]
    base = small_study(
        fleet__pools=pools,
        workload={"kind": "mix", "parts": [part(SMALL, 30, 300), part(LARGE, 10, 100)]},
        plan__tensor_parallel=[1],
        plan__max_num_batched_tokens=[8192],
    )
    return base.with_changes({key.replace("__", "."): value for key, value in changes.items()})


def planned(base: Study, out: Path) -> tuple[SharedPlan, list[Study]]:
    """Plan with made-up runs: the small model needs 3 replicas, the large one 2, with 0.04 s to the first token."""
    seen: list[Study] = []

    def answer(study: Study, number: int) -> Replication:
        seen.append(study)
        needed = {SMALL: 2.6, LARGE: 1.6}
        run = make_up(0.02 * max(needed[pool.model] / pool.replicas for pool in study.fleet.pools), number)
        run.samples[f"model {LARGE}: ttft_s"] = run.samples["ttft_s"] * 0.4
        run.figures["energy.mean_power_w"] = 700.0 * sum(pool.replicas for pool in study.fleet.pools)
        return run

    return run_shared_plan(base, out, pool=MadeUpPool(answer)), seen


def test_each_model_has_its_own_cheapest_fleet(tmp_path: Path) -> None:
    """Three replicas for one model and two for the other: 5 GPUs at 14.95 USD, and both pools in the winner's study."""
    base = shared_study(slo__classes=[STRICT])
    assert has_several_models(base)
    shared, seen = planned(base, tmp_path / "plan")
    document = shared.document
    assert [one["answer"]["replicas"] for one in document["models"].values()] == [[3], [2]]
    assert list(document["models"]) == [SMALL, LARGE]
    assert (document["answer"]["gpus"], document["answer"]["usd_per_hour"]) == (5, pytest.approx(5 * 2.99))
    assert document["answer"]["mean_power_w"] == pytest.approx(3500.0)
    assert document["whole_fleet"] == {"verdict": "met", "runs": 1}
    assert [one["load"]["requests"] for one in document["models"].values()] == [300, 100]
    winner = Study.load(tmp_path / "plan/winner.yaml")
    assert [(pool.name, pool.model, pool.replicas) for pool in winner.fleet.pools] == [("a", SMALL, 3), ("b", LARGE, 2)]
    assert winner.workload.kind == "mix"
    assert seen[-1] == shared.study
    small, large = ([study for study in seen[:-1] if study.fleet.pools[0].model == model] for model in (SMALL, LARGE))
    assert all(not study.slo.classes for study in small)
    assert all(study.slo.classes and len(study.fleet.pools) == 1 for study in large)
    assert json.loads((tmp_path / "plan/plan.json").read_text()) == document
    assert (tmp_path / "plan/b/plan.json").exists()


def test_a_stopped_plan_goes_on(tmp_path: Path) -> None:
    """The same plan again makes no run but that of the whole fleet."""
    first, _ = planned(shared_study(), tmp_path / "plan")
    again, seen = planned(shared_study(), tmp_path / "plan")
    assert (again.document, len(seen)) == (first.document, 1)


def test_a_moved_plan_is_the_same(tmp_path: Path) -> None:
    """Elsewhere the winners' studies have the requests beside them and the same hashes, and the plan goes on there."""
    first, _ = planned(shared_study(), tmp_path / "plan")
    hashes = [config_hash(Study.load(tmp_path / f"plan/{name}/winner.yaml")) for name in "ab"]
    (tmp_path / "plan").rename(tmp_path / "moved")
    studies = [Study.load(tmp_path / f"moved/{name}/winner.yaml") for name in "ab"]
    assert [config_hash(study) for study in studies] == hashes
    assert len(set(hashes)) == 2
    paths = [study.workload.path for study in studies]  # type: ignore[attr-defined]
    assert paths == [str(tmp_path / f"moved/{name}-requests.parquet") for name in "ab"]
    texts = [path.read_text() for name in ("winner.yaml", "plan.yaml") for path in (tmp_path / "moved").rglob(name)]
    assert len(texts) == 5
    assert not [text for text in texts if str(tmp_path) in text]
    again, seen = planned(shared_study(), tmp_path / "moved")
    assert (again.document, len(seen)) == (first.document, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"plan__max_gpus": 4}, r"plan.max_gpus: 4 is too little for .* all models together, which take 5: llama-3-8b"),
        ({"plan__max_usd_per_hour": 10.0}, r"plan.max_usd_per_hour: 10 is too little .* which take 14\.95"),
        ({"fleet__pools__1__model": SMALL}, r"needs one pool for llama-3-8b"),
        ({"workload": part(SMALL, 30, 300)}, r"workload: no request is for qwen3-14b, which a pool serves"),
        ({"workload__parts__0__traits": {}}, r"some requests name no model; set traits\.model of each part"),
        ({"autoscaler": {"kind": "knative"}}, r"autoscaler: plan tries fleets with an autoscaler for a study of one"),
        ({"workload__max_concurrency": 9}, r"requests of kind mix wait for one another"),
        ({"slo__classes": [{**STRICT, "match": {"model": "x"}}]}, r"^slo\.classes\.0\.match\.model: 'x' is not served"),
        ({"fleet__pools__1__name": "winner.yaml"}, r"^fleet\.pools\.1\.name: winner\.yaml is a file of the plan"),
        ({"slo": {}}, r"^llama-3-8b: .* a plan needs at least one limit"),
        ({"plan__max_gpus": 1}, r"^llama-3-8b: no fleet meets the limits"),
    ],
)
def test_wrong_input_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    """Constraints on the sum, two pools of a model, and requests that cannot be divided are named."""
    with pytest.raises(InputError, match=message):
        planned(shared_study(**changes), tmp_path / "plan")
    if "plan__" not in str(changes):
        assert not (tmp_path / "plan").exists()


def test_another_directory_is_left_alone(tmp_path: Path) -> None:
    """A directory that holds something else is refused and left as it is."""
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="exists and is not the directory of a plan of these models"):
        planned(shared_study(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_the_plan_of_another_load_keeps_its_requests(tmp_path: Path) -> None:
    """A study of other requests is refused where a plan is, and changes no file there."""
    out = tmp_path / "plan"
    planned(shared_study(), out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=r"--out .*: holds a plan of other requests \(b-requests\.parquet\); give"):
        planned(shared_study(workload__parts__1__count=110), out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
